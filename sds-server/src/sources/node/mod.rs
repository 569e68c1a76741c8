//! Many processes as one source: each gets what the agent issues to it, and nothing else.

mod attestations;
mod pin;
mod process;

use std::future::Future;
use std::sync::Arc;

use tokio::sync::watch;

pub use pin::{Pin, PinFault};

use self::attestations::Attestations;
use self::process::Process;
use super::broker::Broker;
use super::custodian::Custodian;
use super::delegated::Delegated;
use super::listener::{Listener, Sayings};
use super::reminders::Reminders;
use super::trouble::{Endpoint, Trouble};
use super::{Custody, CustodySettings, Identities};
use crate::config;
use crate::metrics::Metrics;

/// The agent, asked about one process after the other.
#[derive(Debug)]
pub struct Node {
    agent: Arc<Agent>,
    attestations: Arc<Attestations>,
    reminders: Arc<Reminders>,
    custody: CustodySettings,
    metrics: Metrics,
}

/// How the agent lets us ask for others.
#[derive(Debug)]
enum Agent {
    Broker(Broker),
    Delegated(Delegated),
}

impl Agent {
    async fn subscribe(&self, pid: i32) -> Result<Sayings, Trouble> {
        match self {
            Self::Broker(broker) => broker.subscribe(pid).await,
            Self::Delegated(delegated) => delegated.subscribe(pid).await,
        }
    }

    fn endpoint(&self) -> &Endpoint {
        match self {
            Self::Broker(broker) => &broker.endpoint,
            Self::Delegated(delegated) => &delegated.endpoint,
        }
    }
}

impl Node {
    /// Asks by the Broker API.
    pub fn by_broker(broker: &config::Broker, custody: CustodySettings, metrics: Metrics) -> Self {
        Self::of(Agent::Broker(Broker::new(broker)), custody, metrics)
    }

    /// Asks by the Delegated Identity API. Returns also the task that hears of bundles, without
    /// which nothing is issued, and what it shows of itself.
    pub fn by_delegation(
        delegated: config::Delegated,
        custody: CustodySettings,
        metrics: Metrics,
    ) -> (Self, impl Future<Output = ()> + Send, watch::Receiver<Identities>) {
        let (delegated, bundles, shown) = Delegated::new(delegated.admin_socket, metrics.clone());
        let node = Self::of(Agent::Delegated(delegated), custody, metrics);
        (node, bundles.keep_listening(), shown)
    }

    fn of(agent: Agent, custody: CustodySettings, metrics: Metrics) -> Self {
        Self {
            agent: Arc::new(agent),
            attestations: Arc::new(Attestations::new(metrics.clone())),
            reminders: Arc::default(),
            custody,
            metrics,
        }
    }

    /// Looks after one process: the identities that may be served to it, and what keeps them
    /// coming as long as it is run.
    pub(crate) fn attend(
        &self,
        pin: Arc<Pin>,
    ) -> (watch::Receiver<Identities>, impl Future<Output = ()> + Send + use<>) {
        let process = Process {
            agent: Arc::clone(&self.agent),
            attestations: Arc::clone(&self.attestations),
            pin,
        };
        let (mut listener, reports) =
            Listener::to(process, self.metrics.clone(), Arc::clone(&self.reminders));
        let custody = Custody::new(self.custody.clone());
        let (mut custodian, identities) = Custodian::new(custody, reports, self.metrics.clone());
        let work = async move {
            tokio::select! {
                () = listener.keep_listening() => {}
                () = custodian.keep_publishing() => {}
            }
        };
        (identities, work)
    }
}
