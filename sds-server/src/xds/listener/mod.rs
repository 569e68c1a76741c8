//! Where peers come in: a Unix socket, where the kernel names them, and a TCP socket, where their
//! SVID does.

mod connection;
mod goodbye;
mod local;
mod remote;
mod socket_file;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{Stream, select, unfold};
use tokio::net::{TcpListener, UnixListener};
use tokio::time::sleep;
use tracing::{error, info};

pub(super) use connection::Connection;
pub use socket_file::{ListenError, SocketFile};

use self::local::Local;
use self::remote::Remote;
use super::admission::Gate;
use crate::config::{Config, LiveConfig};
use crate::xds::registry::Registry;
use crate::xds::tls::Identification;

/// The bound sockets of SDS and ECDS.
#[derive(Debug)]
pub struct Listeners {
    unix: Option<(UnixListener, SocketFile)>,
    tcp: Option<TcpListener>,
}

impl Listeners {
    /// Binds what the configuration names. Port 0 becomes a real one, which is logged.
    pub async fn bind(config: &Config) -> Result<Self, ListenError> {
        let listen = &config.listen;
        let unix = listen.path.as_ref().map(|path| SocketFile::bind(path, listen.mode));
        let unix = unix.transpose()?;
        if let Some(path) = &listen.path {
            info!(path = %path.display(), "serving SDS and ECDS");
        }
        let mut tcp = None;
        if let Some(wanted) = &listen.tcp {
            let system = |source| ListenError::Tcp { address: wanted.address, source };
            let listener = TcpListener::bind(wanted.address).await.map_err(system)?;
            let address = listener.local_addr().map_err(system)?;
            info!(%address, peers = wanted.allow.len(), "serving SDS and ECDS with mutual TLS");
            tcp = Some(listener);
        }
        Ok(Self { unix, tcp })
    }

    /// All connections that are let in, and the Unix socket's file, which the caller removes at the
    /// end. The stream never ends: trouble with one connection, or with the system for a time,
    /// concerns no other.
    pub(crate) fn open(
        self,
        config: LiveConfig,
        identification: Identification,
        registry: &Arc<Registry>,
    ) -> (impl Stream<Item = Connection> + use<>, Option<SocketFile>) {
        let gate = Gate::new(config.clone());
        let (listener, file) = self.unix.unzip();
        let local = Local::new(listener, Arc::clone(&gate), config.clone(), Arc::clone(registry));
        let remote = Remote::new(self.tcp, gate, config, identification, Arc::clone(registry));
        (select(local.connections(), remote.connections()), file)
    }
}

/// What `accept` gives, one after the other and for ever; nothing where there is no listener.
fn accepted<L, T, F: Future<Output = io::Result<Option<T>>>>(
    listener: Option<L>,
    accept: impl Fn(Arc<L>) -> F,
) -> impl Stream<Item = T> {
    unfold((listener.map(Arc::new), accept), |(listener, accept)| async move {
        let open = listener.clone()?;
        loop {
            match accept(Arc::clone(&open)).await {
                Ok(Some(accepted)) => return Some((accepted, (listener, accept))),
                Ok(None) => {}
                Err(error) => {
                    error!(%error, "a connection cannot be accepted");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    })
}
