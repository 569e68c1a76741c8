//! Which catalogue a connection sees.
//!
//! With the source `workload_api` all see the same one; with the others each process sees its own.
//! Streams know nothing but their [`View`].

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::catalogue::Catalogue;
use super::peer::{LocalPeer, Peer};
use super::processes::{Attended, Processes, Seat};
use super::session::Quarantine;
use super::status::Refusal;

/// How long a single request waits for the agent's first word of a process that nobody has asked for yet.
const FIRST: Duration = Duration::from_secs(10);

/// Opens a [`View`] for whoever is let in.
#[derive(Debug)]
pub enum Views {
    /// Everybody sees the same.
    Shared(watch::Receiver<Arc<Catalogue>>),
    /// Each process of this node sees its own.
    PerProcess(Box<Processes>),
}

/// What one connection sees now and from now on. It keeps alive what it needs.
#[derive(Debug)]
pub(super) struct View {
    catalogues: watch::Receiver<Arc<Catalogue>>,
    /// Where the view is one process' own.
    seat: Option<Seat>,
}

impl Views {
    /// The processes that are served their own; nobody where everybody sees the same.
    pub fn attended(&self) -> Attended {
        match self {
            Self::Shared(_) => Attended::default(),
            Self::PerProcess(processes) => processes.attended(),
        }
    }

    /// What Envoys refused.
    pub(super) fn quarantine(&self) -> watch::Sender<Quarantine> {
        match self {
            Self::Shared(_) => watch::Sender::default(),
            Self::PerProcess(processes) => processes.quarantine(),
        }
    }

    /// What everybody sees; nothing where each process sees its own.
    pub fn published(&self) -> Option<watch::Receiver<Arc<Catalogue>>> {
        match self {
            Self::Shared(catalogues) => Some(catalogues.clone()),
            Self::PerProcess(_) => None,
        }
    }

    /// The view of `peer`, or why it has none.
    pub(super) fn open(&self, peer: &Peer) -> Result<View, Refusal> {
        match (self, peer) {
            (Self::Shared(catalogues), _) => {
                Ok(View { catalogues: catalogues.clone(), seat: None })
            }
            (Self::PerProcess(processes), Peer::Local(LocalPeer { pin: Some(pin), .. })) => {
                let (seat, catalogues) = processes.open(pin)?;
                Ok(View { catalogues, seat: Some(seat) })
            }
            (Self::PerProcess(_), _) => Err(Refusal::NoProcess),
        }
    }
}

impl View {
    /// What is seen now; it counts as seen.
    pub(super) fn current(&mut self) -> Arc<Catalogue> {
        Arc::clone(&self.catalogues.borrow_and_update())
    }

    /// Waits until it is known what a process may have that asks for the first time, but not for ever. A stream need not:
    /// it hears of that when it is known.
    pub(super) async fn begun(&mut self) {
        let Some(seat) = &self.seat else { return };
        tokio::select! {
            _ = self.catalogues.wait_for(|catalogue| catalogue.has_svids()) => {}
            () = seat.refused() => {}
            () = sleep(FIRST) => {}
        }
    }

    /// Waits for something that was not seen yet. Cancel safe.
    pub(super) async fn changed(&mut self) -> Result<Arc<Catalogue>, Refusal> {
        match self.catalogues.changed().await {
            Ok(()) => Ok(self.current()),
            // Nobody publishes for a process that has ended.
            Err(_) if self.seat.is_some() => Err(Refusal::ProcessEnded),
            // The publisher of all ends before the streams only when the server stops.
            Err(_) => Err(Refusal::Draining),
        }
    }

    /// Asked right before every response: whether the peer may still have what it sees.
    pub(super) fn confirm(&self) -> Result<(), Refusal> {
        match &self.seat {
            Some(seat) if !seat.is_alive() => Err(Refusal::ProcessEnded),
            _ => Ok(()),
        }
    }
}
