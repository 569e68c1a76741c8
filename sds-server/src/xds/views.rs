//! Which catalogue a connection sees.
//!
//! With the source `workload_api` all see the same one. Streams know nothing but their [`View`].

use std::sync::Arc;

use tokio::sync::watch;

use super::catalogue::Catalogue;
use super::peer::Peer;
use super::status::Refusal;

/// Opens a [`View`] for whoever is let in.
#[derive(Debug)]
pub struct Views {
    shared: watch::Receiver<Arc<Catalogue>>,
}

/// What one connection sees now and from now on. It keeps alive what it needs.
#[derive(Debug)]
pub(super) struct View {
    catalogues: watch::Receiver<Arc<Catalogue>>,
}

impl Views {
    /// Everybody sees the same.
    pub fn shared(catalogues: watch::Receiver<Arc<Catalogue>>) -> Self {
        Self { shared: catalogues }
    }

    /// The view of `peer`, or why it has none.
    #[expect(
        clippy::unnecessary_wraps,
        reason = "a process that cannot be told from others has no view"
    )]
    pub(super) fn open(&self, _peer: &Peer) -> Result<View, Refusal> {
        Ok(View { catalogues: self.shared.clone() })
    }
}

impl View {
    /// What is seen now; it counts as seen.
    pub(super) fn current(&mut self) -> Arc<Catalogue> {
        Arc::clone(&self.catalogues.borrow_and_update())
    }

    /// Waits for something that was not seen yet. Cancel safe.
    pub(super) async fn changed(&mut self) -> Result<Arc<Catalogue>, Refusal> {
        // The publisher ends before the streams only when the server stops.
        self.catalogues.changed().await.map_err(|_| Refusal::Draining)?;
        Ok(self.current())
    }

    /// Asked right before every response: whether the peer may still have what it sees.
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "a shared view is for all")]
    pub(super) fn confirm(&self) -> Result<(), Refusal> {
        Ok(())
    }
}
