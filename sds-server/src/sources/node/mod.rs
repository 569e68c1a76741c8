//! Many processes as one source: each gets what the agent issues to it, and nothing else.

mod attestations;
mod pin;
mod process;
mod reach;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

pub use pin::{Pin, PinFault};
pub use reach::Reached;

use self::attestations::Attestations;
use self::process::Process;
use self::reach::Reach;
use super::broker::Broker;
use super::custodian::Custodian;
use super::delegated::Delegated;
use super::jwt::{JwtRequest, JwtSupply, Token};
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
    reach: Arc<Reach>,
    settings: NodeSettings,
}

/// How often the broker is asked whether it is there while no process' stream shows it.
const ASK: Duration = Duration::from_secs(5);
/// How soon it is asked again where it did not answer.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How each process is looked after.
#[derive(Debug, Clone)]
pub struct NodeSettings {
    /// The care taken of its X.509-SVIDs.
    pub custody: CustodySettings,
    /// How many different JWT-SVIDs it may want at once; see `limits.jwt_svids`.
    pub jwt_svids: usize,
    /// What is counted.
    pub metrics: Metrics,
}

/// What is held for one process.
#[derive(Debug)]
pub(crate) struct Holdings {
    pub(crate) identities: watch::Receiver<Identities>,
    pub(crate) jwt: JwtSupply,
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

    /// The JWT-SVIDs of process `pid` for that audience, as they come over the wire.
    async fn jwt_svids(&self, pid: i32, request: &JwtRequest) -> Result<Vec<Token>, Trouble> {
        match self {
            Self::Broker(broker) => broker.jwt_svids(pid, request).await,
            Self::Delegated(delegated) => delegated.jwt_svids(pid, request).await,
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
    pub fn by_broker(broker: &config::Broker, settings: NodeSettings) -> Self {
        Self::of(Agent::Broker(Broker::new(broker)), settings)
    }

    /// Asks by the Delegated Identity API. Returns also the task that hears of bundles, without
    /// which nothing is issued, and what it shows of itself.
    pub fn by_delegation(
        delegated: config::Delegated,
        settings: NodeSettings,
    ) -> (Self, impl Future<Output = ()> + Send, watch::Receiver<Identities>) {
        let (delegated, bundles, shown) =
            Delegated::new(delegated.admin_socket, settings.metrics.clone());
        (Self::of(Agent::Delegated(delegated), settings), bundles.keep_listening(), shown)
    }

    fn of(agent: Agent, settings: NodeSettings) -> Self {
        Self {
            agent: Arc::new(agent),
            attestations: Arc::new(Attestations::new(settings.metrics.clone())),
            reminders: Arc::default(),
            reach: Arc::default(),
            settings,
        }
    }

    /// Whether the broker can be reached, and the task that finds out while no process does; it begins when we have
    /// an identity of our own.
    pub fn watch_broker(
        &self,
        mut own: watch::Receiver<Identities>,
    ) -> (watch::Receiver<Reached>, impl Future<Output = ()> + Send + use<>) {
        let (agent, reach) = (Arc::clone(&self.agent), Arc::clone(&self.reach));
        let (metrics, told) = (self.settings.metrics.clone(), reach.subscribe());
        let work = async move {
            let Agent::Broker(broker) = &*agent else { return std::future::pending().await };
            while own.wait_for(|own| !own.snapshot.svids.is_empty()).await.is_ok() {
                if !reach.is_reached() || !metrics.has_upstream() {
                    reach.note(&broker.endpoint, &broker.probe().await);
                }
                sleep(if reach.is_reached() { ASK } else { ASK_AGAIN }).await;
            }
        };
        (told, work)
    }

    /// Looks after one process: what may be served to it, and what keeps that coming as long as it
    /// is run.
    pub(crate) fn attend(
        &self,
        pin: Arc<Pin>,
    ) -> (Holdings, impl Future<Output = ()> + Send + use<>) {
        let NodeSettings { custody, jwt_svids, metrics } = self.settings.clone();
        let process = Process {
            agent: Arc::clone(&self.agent),
            attestations: Arc::clone(&self.attestations),
            reach: Arc::clone(&self.reach),
            pin,
        };
        let (jwt, mut keeper) = JwtSupply::of(process.clone(), jwt_svids, metrics.clone());
        let (mut listener, reports) =
            Listener::to(process, metrics.clone(), Arc::clone(&self.reminders));
        let (mut custodian, identities) = Custodian::new(Custody::new(custody), reports, metrics);
        let work = async move {
            tokio::select! {
                () = listener.keep_listening() => {}
                () = custodian.keep_publishing() => {}
                () = keeper.keep_fetching() => {}
            }
        };
        (Holdings { identities, jwt }, work)
    }
}
