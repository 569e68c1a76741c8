//! The Unix socket's file: made safely, and removed at the end.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;
use tracing::{info, warn};

use crate::config::FileMode;

/// Of a directory that is made for the socket.
const DIRECTORY_MODE: u32 = 0o750;

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
    /// The system refused a TCP socket.
    #[error("{address}: {source}")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
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
    ///
    /// A directory that is missing is made. In one that others may write to, they could put a
    /// socket of their own in the place of ours: that is logged, since a pod's `emptyDir` is such
    /// a directory and harmless.
    pub fn bind(path: &Path, mode: FileMode) -> Result<(UnixListener, Self), ListenError> {
        refuse_what_is_not_ours(path)?;
        if let Some(directory) = path.parent() {
            prepare(directory)
                .map_err(|source| ListenError::System { path: directory.into(), source })?;
        }
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

fn prepare(directory: &Path) -> io::Result<()> {
    match std::fs::metadata(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)?;
            info!(path = %directory.display(), mode = "0750", "made the socket's directory");
        }
        Err(error) => return Err(error),
        // Where the sticky bit is set, others cannot rename over what is ours.
        Ok(found) if found.mode() & 0o1002 == 0o0002 => warn!(
            path = %directory.display(),
            "all users can write to the socket's directory, and replace the socket; 0750 is better"
        ),
        Ok(_) => {}
    }
    Ok(())
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
    async fn a_missing_directory_is_made_for_owner_and_group() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("signet/sds/sds.sock");
        let (_listener, _file) = SocketFile::bind(&path, FileMode::OWNER_AND_GROUP).expect("bound");
        for made in ["signet", "signet/sds"] {
            let found = std::fs::metadata(directory.path().join(made)).expect("made");
            assert_eq!(found.permissions().mode() & 0o777, 0o750, "{made}");
        }
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
