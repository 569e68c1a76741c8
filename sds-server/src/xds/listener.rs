//! The Unix socket: made safely, removed at the end, and each connection named by the kernel.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::Instant;
use tonic::transport::server::Connected;
use tracing::{error, warn};

use super::admission::{Gate, Pass};
use super::peer::{LocalPeer, Peer};
use super::registry::Registry;
use crate::config::FileMode;

/// A socket in the file system that is ours; dropping it removes the file.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

/// Why a socket cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Something else is there.
    #[error("{}: a {found} is there, accepted are nothing or a stale socket", path.display())]
    Occupied {
        /// The path.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },
    /// Another process answers there.
    #[error("{}: another process listens there; choose another path", path.display())]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{}: {source}", path.display())]
    System {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl SocketFile {
    /// Listens at `path`. The socket is made under another name and moved there when its
    /// permissions are right, so that nobody ever connects to one that is too open, and a stale one
    /// is replaced in one step.
    pub fn bind(path: &Path, mode: FileMode) -> Result<(UnixListener, Self), ListenError> {
        refuse_what_is_not_ours(path)?;
        let system = |source| ListenError::System { path: path.into(), source };
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}", std::process::id()));
        let unfinished = PathBuf::from(name);
        let finish = || -> io::Result<(UnixListener, Self)> {
            let listener = UnixListener::bind(&unfinished)?;
            std::fs::set_permissions(&unfinished, std::fs::Permissions::from_mode(mode.bits()))?;
            let metadata = std::fs::symlink_metadata(&unfinished)?;
            std::fs::rename(&unfinished, path)?;
            Ok((listener, Self { path: path.into(), inode: (metadata.dev(), metadata.ino()) }))
        };
        finish().inspect_err(|_| drop(std::fs::remove_file(&unfinished))).map_err(system)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.inode);
        if ours && let Err(error) = std::fs::remove_file(&self.path) {
            warn!(path = %self.path.display(), %error, "the socket stays behind");
        }
    }
}

fn refuse_what_is_not_ours(path: &Path) -> Result<(), ListenError> {
    let kind = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(ListenError::System { path: path.into(), source }),
    };
    let found = match kind {
        kind if kind.is_socket() => {
            return match std::os::unix::net::UnixStream::connect(path) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
                Err(source) => Err(ListenError::System { path: path.into(), source }),
                Ok(_) => Err(ListenError::InUse { path: path.into() }),
            };
        }
        kind if kind.is_symlink() => "symbolic link",
        kind if kind.is_dir() => "directory",
        kind if kind.is_file() => "file",
        _ => "device or pipe",
    };
    Err(ListenError::Occupied { path: path.into(), found })
}

/// A connection that was let in.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    peer: Peer,
    _pass: Pass,
}

/// All connections that pass the gate. The stream never ends: trouble with one connection, or with
/// the system for a time, concerns no other.
pub(crate) fn incoming(
    listener: UnixListener,
    gate: Arc<Gate>,
    registry: Arc<Registry>,
) -> impl Stream<Item = io::Result<Connection>> {
    futures::stream::unfold((listener, gate, registry), |(listener, gate, registry)| async move {
        loop {
            match accept(&listener, &gate, &registry).await {
                Ok(Some(connection)) => return Some((Ok(connection), (listener, gate, registry))),
                Ok(None) => {}
                Err(error) => {
                    error!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    })
}

async fn accept(
    listener: &UnixListener,
    gate: &Arc<Gate>,
    registry: &Registry,
) -> io::Result<Option<Connection>> {
    let (stream, _) = listener.accept().await?;
    let credentials = stream.peer_cred()?;
    let peer = Peer::Local(LocalPeer {
        uid: credentials.uid(),
        gid: credentials.gid(),
        pid: credentials.pid(),
    });
    match gate.admit(&peer, Instant::now()) {
        Ok(pass) => Ok(Some(Connection { stream, peer, _pass: pass })),
        Err(reason) => {
            registry.refuse(&peer, reason.class(), &reason);
            Ok(None)
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{ListenError, SocketFile};
    use crate::config::FileMode;

    #[tokio::test]
    async fn a_socket_has_its_permissions_and_goes_with_its_owner() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("sds.sock");
        let (listener, file) = SocketFile::bind(&path, FileMode::OWNER_AND_GROUP).expect("bound");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o660);
        assert!(matches!(
            SocketFile::bind(&path, FileMode::OWNER_AND_GROUP),
            Err(ListenError::InUse { .. })
        ));
        drop((listener, file));
        assert!(!path.exists());
        assert_eq!(
            std::fs::read_dir(directory.path()).expect("readable").count(),
            0,
            "nothing stays behind"
        );
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_nothing_else_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let stale = directory.path().join("stale.sock");
        drop(std::os::unix::net::UnixListener::bind(&stale).expect("bound"));
        assert!(SocketFile::bind(&stale, FileMode::OWNER_AND_GROUP).is_ok());

        let file = directory.path().join("file");
        std::fs::write(&file, "precious").expect("written");
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&file, &link).expect("linked");
        for path in [&file, &link, &directory.path().to_path_buf()] {
            assert!(
                matches!(
                    SocketFile::bind(path, FileMode::OWNER_AND_GROUP),
                    Err(ListenError::Occupied { .. })
                ),
                "{}",
                path.display()
            );
        }
        assert_eq!(std::fs::read_to_string(&file).expect("still there"), "precious");
    }
}
