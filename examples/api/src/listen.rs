//! Where the API listens: a Unix socket or loopback, because whoever reaches it is believed.

use std::fmt;
use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, bail};
use axum::Router;
use axum::serve::Listener;
use tokio::net::{TcpListener, UnixListener};

/// An address that no other machine reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListenAddress {
    /// Made with mode 0660: its group is the sidecar's.
    Unix(PathBuf),
    /// Private inside a pod only; every user of a shared host reaches it.
    Loopback(SocketAddr),
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const ACCEPTED: &str = "accepted: unix:PATH, 127.0.0.1:PORT or [::1]:PORT";
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Ok(Self::Loopback(address)),
            Ok(address) => Err(format!(
                "{address} can be reached past the sidecar, which would let any caller name its own role; {ACCEPTED}"
            )),
            Err(_) => Err(format!("{text:?} is no address; {ACCEPTED}")),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Loopback(address) => write!(f, "http://{address}"),
        }
    }
}

/// Serves `router` until `stop`, after telling `ready` the real address (port 0 is a free one).
pub(crate) async fn serve(
    address: ListenAddress,
    router: Router,
    ready: impl FnOnce(&ListenAddress),
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    match address {
        ListenAddress::Loopback(address) => {
            let listener = TcpListener::bind(address)
                .await
                .with_context(|| format!("{address} could not be bound"))?;
            ready(&ListenAddress::Loopback(listener.local_addr()?));
            run(listener, router, stop).await
        }
        ListenAddress::Unix(path) => {
            let listener = bind(&path)?;
            ready(&ListenAddress::Unix(path.clone()));
            let outcome = run(listener, router, stop).await;
            std::fs::remove_file(&path)
                .with_context(|| format!("{} could not be removed", path.display()))?;
            outcome
        }
    }
}

async fn run<L: Listener<Addr: fmt::Debug>>(
    listener: L,
    router: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    Ok(axum::serve(listener, router).with_graceful_shutdown(stop).await?)
}

/// Replaces a socket that nobody answers, and no other file.
fn bind(path: &Path) -> anyhow::Result<UnixListener> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        bail!("another process already listens on {}", path.display());
    }
    if path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket()) {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)
        .with_context(|| format!("{} could not be bound", path.display()))?;
    std::fs::set_permissions(path, Permissions::from_mode(0o660))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_private_addresses_are_taken() {
        for (text, expected) in [
            ("unix:/run/api.sock", Ok("unix:/run/api.sock")),
            ("127.0.0.1:8080", Ok("http://127.0.0.1:8080")),
            ("[::1]:0", Ok("http://[::1]:0")),
            ("0.0.0.0:8080", Err("0.0.0.0:8080 can be reached past the sidecar")),
            ("192.168.1.2:8080", Err("192.168.1.2:8080 can be reached")),
            ("[::]:8080", Err("[::]:8080 can be reached")),
            ("localhost:8080", Err("\"localhost:8080\" is no address; accepted: unix:PATH")),
            ("unix:", Err("is no address")),
        ] {
            match (text.parse::<ListenAddress>(), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found.to_string(), expected),
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{text}: {found}"),
                (found, expected) => panic!("{text}: {found:?} instead of {expected:?}"),
            }
        }
    }
}
