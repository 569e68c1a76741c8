//! Connections to the Unix socket.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use futures::stream::Stream;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::Instant;
use tokio_util::either::Either;

use super::connection::{Connection, Watch};
use super::goodbye::goodbye;
use crate::config::LiveConfig;
use crate::sources::Pin;
use crate::xds::admission::{Door, Gate, NotAdmitted, Pass};
use crate::xds::grant::Grant;
use crate::xds::peer::{LocalPeer, Peer};
use crate::xds::registry::Registry;
use crate::xds::status::Refusal;

/// The Unix socket and its rules.
pub(super) struct Local {
    listener: Option<UnixListener>,
    gate: Arc<Gate>,
    config: LiveConfig,
    registry: Arc<Registry>,
    /// Whether each process is served its own identities, and so must be the very one.
    pinning: bool,
}

impl Local {
    pub(super) fn new(
        listener: Option<UnixListener>,
        gate: Arc<Gate>,
        config: LiveConfig,
        registry: Arc<Registry>,
    ) -> Self {
        let pinning = config.borrow().source.is_per_process();
        Self { listener, gate, config, registry, pinning }
    }

    pub(super) fn connections(mut self) -> impl Stream<Item = Connection> {
        let listener = self.listener.take();
        let this = Arc::new(self);
        super::accepted(listener, move |listener: Arc<UnixListener>| {
            let this = Arc::clone(&this);
            async move {
                let (stream, _) = listener.accept().await?;
                this.admit(stream)
            }
        })
    }

    fn admit(&self, stream: UnixStream) -> io::Result<Option<Connection>> {
        let credentials = stream.peer_cred()?;
        let mut local = LocalPeer {
            uid: credentials.uid(),
            gid: credentials.gid(),
            pid: credentials.pid(),
            pin: None,
        };
        if self.pinning {
            match Pin::take(&stream) {
                Ok(pin) => local.pin = Some(Arc::new(pin)),
                Err(fault) => {
                    return self.refuse(stream, &Peer::Local(local), fault.class(), &fault);
                }
            }
        }
        let peer = Peer::Local(local);
        match self.pass(&peer) {
            Ok(pass) => {
                let patience = self.config.borrow().limits.slow_reader.duration();
                let unwelcome = unwelcome(peer.clone(), self.config.clone());
                let transport = Either::Left(stream);
                Ok(Some(Connection::new(transport, peer, pass, unwelcome, patience)))
            }
            Err(reason) => self.refuse(stream, &peer, reason.class(), &reason),
        }
    }

    /// Tells operators why, and the peer of what class that is.
    fn refuse(
        &self,
        stream: UnixStream,
        peer: &Peer,
        class: &'static str,
        reason: &impl fmt::Display,
    ) -> io::Result<Option<Connection>> {
        self.registry.refuse(peer, class, reason);
        // Its buffer is empty, so this does not wait. Whoever is gone misses nothing.
        let _ = stream.into_std()?.write(&goodbye(class));
        Ok(None)
    }

    fn pass(&self, peer: &Peer) -> Result<Pass, NotAdmitted> {
        Grant::of(peer, &self.config.borrow().listen)?;
        let mut pass = self.gate.enter(Door::Unix, Instant::now())?;
        pass.identify(peer)?;
        Ok(pass)
    }
}

/// Resolves when the configuration does not let `peer` be connected any more.
fn unwelcome(peer: Peer, mut config: LiveConfig) -> Watch {
    Box::pin(async move {
        loop {
            if let Err(reason) = Grant::of(&peer, &config.borrow_and_update().listen) {
                return Refusal::NotAdmitted(reason);
            }
            if config.changed().await.is_err() {
                // The configuration cannot change any more.
                return std::future::pending().await;
            }
        }
    })
}
