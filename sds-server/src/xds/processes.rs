//! The processes that are connected, or were a moment ago: each with a catalogue of its own.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::info;

use super::catalogue::Catalogue;
use super::peer::Account;
use super::publisher::Publisher;
use super::registry::Registry;
use super::rules::ResourceRules;
use super::session::Quarantine;
use super::status::Refusal;
use crate::metrics::Metrics;
use crate::policy::PolicyState;
use crate::sources::{Holdings, Identities, Node, Pin};

/// How long the identities of a process that has no stream are kept: Envoy waits up to some ten
/// seconds before it connects again.
const LINGER: Duration = Duration::from_secs(30);

/// Looks after every process that has a stream: one upstream stream, one custody and one catalogue
/// each, whatever the number of its connections.
#[derive(Debug)]
pub struct Processes {
    node: Node,
    policy: watch::Receiver<PolicyState>,
    rules: Arc<ResourceRules>,
    registry: Arc<Registry>,
    metrics: Metrics,
    /// What the Envoys refused.
    quarantine: watch::Sender<Quarantine>,
    end: CancellationToken,
    /// Everything ends with this value, and not before the last stream.
    _end: DropGuard,
    living: Arc<Mutex<Living>>,
}

/// By number, user and group. A number is its process' own while that lives.
type Living = HashMap<(i32, u32, u32), Arc<Process>>;

/// A process that is looked after.
#[derive(Debug)]
struct Process {
    pin: Arc<Pin>,
    identities: watch::Receiver<Identities>,
    catalogues: watch::Receiver<Arc<Catalogue>>,
    seats: watch::Sender<usize>,
}

/// The processes as operators see them. It keeps none of them, nor what is held for them.
#[derive(Debug, Clone, Default)]
pub struct Attended(Weak<Mutex<Living>>);

/// One stream of a process; it is looked after while there are any.
#[derive(Debug)]
pub(super) struct Seat(Arc<Process>);

impl Processes {
    /// Nobody yet.
    pub fn new(
        node: Node,
        policy: watch::Receiver<PolicyState>,
        rules: Arc<ResourceRules>,
        registry: Arc<Registry>,
        metrics: Metrics,
    ) -> Self {
        let end = CancellationToken::new();
        Self {
            node,
            policy,
            rules,
            registry,
            metrics,
            quarantine: watch::Sender::default(),
            _end: end.clone().drop_guard(),
            end,
            living: Arc::default(),
        }
    }

    /// For operators.
    pub(super) fn attended(&self) -> Attended {
        Attended(Arc::downgrade(&self.living))
    }

    /// What the Envoys refused. It is forgotten with their process.
    pub(super) fn quarantine(&self) -> watch::Sender<Quarantine> {
        self.quarantine.clone()
    }

    /// A seat for a stream of the process, and what the process may have.
    pub(super) fn open(
        &self,
        pin: &Arc<Pin>,
    ) -> Result<(Seat, watch::Receiver<Arc<Catalogue>>), Refusal> {
        if !pin.is_alive() {
            return Err(Refusal::ProcessEnded);
        }
        let mut living = locked(&self.living);
        let process = living.entry(key(pin)).or_insert_with(|| self.attend(pin));
        if !process.is_attended() {
            *process = self.attend(pin);
        }
        Ok((Seat::take(process), process.catalogues.clone()))
    }

    /// Begins to look after a process.
    fn attend(&self, pin: &Arc<Pin>) -> Arc<Process> {
        let (Holdings { identities, jwt }, sourcing) = self.node.attend(Arc::clone(pin));
        let (publisher, catalogues) = Publisher::new(
            identities.clone(),
            self.policy.clone(),
            jwt,
            Arc::clone(&self.rules),
            Arc::clone(&self.registry),
        );
        let process = Arc::new(Process {
            pin: Arc::clone(pin),
            identities: identities.clone(),
            catalogues,
            seats: watch::channel(0).0,
        });
        let care = Care {
            process: Arc::clone(&process),
            living: Arc::clone(&self.living),
            registry: Arc::clone(&self.registry),
            quarantine: self.quarantine.clone(),
        };
        let (end, shown) = (self.end.clone(), self.metrics.open_process());
        tokio::spawn(async move {
            let _shown = shown;
            tokio::select! {
                () = end.cancelled() => {}
                () = sourcing => {}
                () = publisher.run(CancellationToken::new()) => {}
                () = care.tell_refusals(identities) => {}
                () = care.process.pin.ended() => {
                    info!(process = %care.process.pin, "process ended; what was held for it is dropped");
                }
                () = care.deserted() => {
                    info!(process = %care.process.pin, "process left; what was held for it is dropped");
                }
            }
        });
        process
    }
}

impl Attended {
    /// Tells of each process that lives: who it is, how many streams it has, and what is held for it. By user,
    /// then by number.
    pub(crate) fn tell<T>(&self, tell: impl Fn(&Pin, usize, &Identities) -> T) -> Vec<T> {
        let Some(living) = self.0.upgrade() else { return Vec::new() };
        let mut processes: Vec<_> = locked(&living).values().cloned().collect();
        processes.retain(|process| process.is_attended());
        processes.sort_by_key(|process| (process.pin.uid(), process.pin.pid()));
        let told = processes.iter().map(|process| {
            let Process { pin, seats, identities, .. } = &**process;
            tell(pin, *seats.borrow(), &identities.borrow())
        });
        told.collect()
    }
}

impl Process {
    /// Whether it is looked after still.
    fn is_attended(&self) -> bool {
        self.pin.is_alive() && self.catalogues.has_changed().is_ok()
    }
}

impl Seat {
    fn take(process: &Arc<Process>) -> Self {
        process.seats.send_modify(|seats| *seats += 1);
        Self(Arc::clone(process))
    }

    /// Waits until the agent says that the process has no identity. Cancel safe.
    pub(super) async fn refused(&self) {
        let mut identities = self.0.identities.clone();
        // Nobody says so any more of a process that has ended.
        let _ = identities.wait_for(|identities| identities.withdrawn).await;
    }

    /// Whether the process lives that took it.
    pub(super) fn is_alive(&self) -> bool {
        self.0.pin.is_alive()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.seats.send_modify(|seats| *seats -= 1);
    }
}

/// Ends the entry of a process however its task ends: a panic drops it too.
struct Care {
    process: Arc<Process>,
    living: Arc<Mutex<Living>>,
    registry: Arc<Registry>,
    quarantine: watch::Sender<Quarantine>,
}

impl Care {
    /// Waits until nobody has had a seat for a while, and takes the process from the list in the
    /// same instant.
    async fn deserted(&self) {
        let mut seats = self.process.seats.subscribe();
        loop {
            // The sender is ours.
            let _ = seats.wait_for(|seats| *seats == 0).await;
            tokio::select! {
                _ = seats.wait_for(|seats| *seats > 0) => {}
                () = sleep(LINGER) => {
                    let mut living = locked(&self.living);
                    if *self.process.seats.borrow() == 0 {
                        self.leave(&mut living);
                        return;
                    }
                }
            }
        }
    }

    /// Tells operators when the agent says that the process has no identity. Never ends.
    async fn tell_refusals(&self, mut identities: watch::Receiver<Identities>) {
        let mut told = None;
        loop {
            let reason = identities.borrow_and_update().refusal();
            if let Some(reason) = &reason
                && told.as_ref() != Some(reason)
            {
                self.registry.refuse(&self.process.pin, "no_identity", reason);
            }
            told = reason;
            if identities.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    fn leave(&self, living: &mut Living) {
        let key = key(&self.process.pin);
        if living.get(&key).is_some_and(|process| Arc::ptr_eq(process, &self.process)) {
            living.remove(&key);
            let account = Account::Process(self.process.pin.pid());
            self.quarantine.send_if_modified(|quarantine| quarantine.forget(&account));
        }
    }
}

impl Drop for Care {
    fn drop(&mut self) {
        self.leave(&mut locked(&self.living));
    }
}

impl fmt::Debug for Care {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Care({})", self.process.pin)
    }
}

fn key(pin: &Pin) -> (i32, u32, u32) {
    (pin.pid(), pin.uid(), pin.gid())
}

/// For a moment: never hold it while waiting.
fn locked(living: &Mutex<Living>) -> MutexGuard<'_, Living> {
    living.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "processes_tests.rs"]
mod tests;
