//! What every request of a connection comes with.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use super::budget::Budget;
use super::peer::Peer;
use super::status::Refusal;

/// Who asks on a connection, what it may hold, and until when.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) peer: Peer,
    pub(super) budget: Budget,
    pub(super) end: End,
}

/// The end of a connection, told to all its streams: the server stops, or the peer must not be connected any longer.
#[derive(Debug, Clone)]
pub(super) struct End {
    over: CancellationToken,
    reason: Arc<OnceLock<Refusal>>,
}

impl End {
    /// Comes with `stop` at the latest.
    pub(super) fn with(stop: &CancellationToken) -> Self {
        Self { over: stop.child_token(), reason: Arc::default() }
    }

    /// Ends the connection now; the streams are told why.
    pub(super) fn come(&self, reason: Refusal) {
        // The first reason is the one that counts.
        let _ = self.reason.set(reason);
        self.over.cancel();
    }

    /// Waits for the end. Cancel safe.
    pub(super) async fn reached(&self) -> Refusal {
        self.over.cancelled().await;
        self.reason()
    }

    /// Asked before everything that is answered.
    pub(super) fn confirm(&self) -> Result<(), Refusal> {
        if self.over.is_cancelled() { Err(self.reason()) } else { Ok(()) }
    }

    fn reason(&self) -> Refusal {
        self.reason.get().cloned().unwrap_or(Refusal::Draining)
    }
}
