//! Where the admin pages are served.

use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Admin, router};
use crate::config::{Address, FileMode};
use crate::xds::{ListenError, SocketFile};

/// The bound admin listener.
#[derive(Debug)]
pub enum AdminListener {
    /// On TCP.
    Tcp(tokio::net::TcpListener),
    /// On a Unix socket, 0660.
    Unix(tokio::net::UnixListener, SocketFile),
}

impl AdminListener {
    /// Listens at `address`; returns the real address too.
    pub async fn bind(address: &Address) -> Result<(Self, String), ListenError> {
        match address {
            Address::Tcp(wanted) => {
                if !wanted.ip().is_loopback() {
                    warn!(address = %wanted, "other machines can read the admin pages");
                }
                let system =
                    |source| ListenError::System { path: wanted.to_string().into(), source };
                let listener = tokio::net::TcpListener::bind(wanted).await.map_err(system)?;
                let real = listener.local_addr().map_err(system)?;
                Ok((Self::Tcp(listener), real.to_string()))
            }
            Address::Unix(wanted) => {
                let (listener, file) = SocketFile::bind(wanted.path(), FileMode::OWNER_AND_GROUP)?;
                Ok((Self::Unix(listener, file), wanted.to_string()))
            }
        }
    }

    /// Answers until `end`.
    pub async fn serve(self, admin: Admin, end: CancellationToken) -> std::io::Result<()> {
        let router = router(admin);
        match self {
            Self::Tcp(listener) => {
                axum::serve(listener, router).with_graceful_shutdown(end.cancelled_owned()).await
            }
            Self::Unix(listener, _file) => {
                axum::serve(listener, router).with_graceful_shutdown(end.cancelled_owned()).await
            }
        }
    }
}
