//! The stage of one run: a private directory, loopback addresses of its own, and the accounts.

use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::{Account, Accounts, Programs};

/// Leaves room for the longest socket below the private directory; a socket's path has at most 107 bytes.
const LONGEST_DIRECTORY: usize = 70;

/// What all processes of a run share. Dropped last: the directory goes with it.
#[derive(Debug)]
pub struct Stage {
    /// Who runs what.
    pub accounts: Accounts,
    /// What is run.
    pub programs: Programs,
    /// The address that everything here listens on, in 127.0.0.0/8 and shared with no other stage.
    pub address: Ipv4Addr,
    directory: TempDir,
    logs: PathBuf,
    linking: Mutex<()>,
    ports: Mutex<BTreeSet<u16>>,
}

impl Stage {
    /// Makes the directory; logs go into it too, or into `logs` if that is given.
    pub fn set(logs: Option<PathBuf>) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("signet-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .context("cannot make a private directory")?;
        let length = directory.path().as_os_str().len();
        if length > LONGEST_DIRECTORY {
            bail!(
                "{} has {length} bytes, Unix sockets allow {LONGEST_DIRECTORY}: set TMPDIR to a shorter path",
                directory.path().display()
            );
        }
        let logs = logs.unwrap_or_else(|| directory.path().join("logs"));
        fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
        Ok(Self {
            accounts: Accounts::choose()?,
            programs: Programs::locate()?,
            address: address_of_our_own(),
            directory,
            logs,
            linking: Mutex::new(()),
            ports: Mutex::new(BTreeSet::new()),
        })
    }

    /// The private directory. Its path is short, for Unix sockets have at most 107 bytes.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Where the processes' logs lie.
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// Makes a directory below the private one and gives it to `owner`.
    pub fn directory(&self, name: &str, owner: &Account) -> Result<PathBuf> {
        let path = self.path().join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        owner.own(&path)?;
        Ok(path)
    }

    /// A port of [`Stage::address`] that nobody has, another at each call.
    pub fn free_port(&self) -> Result<u16> {
        let mut given = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let listener = TcpListener::bind((self.address, 0)).context("no free port")?;
            let port = listener.local_addr()?.port();
            if given.insert(port) {
                return Ok(port);
            }
        }
    }

    /// The path itself if every account can read it, else a copy of it below the private directory.
    ///
    /// A checkout below `/root` is closed to the accounts that Envoy and Postgres run as.
    pub fn within_reach(&self, path: &Path) -> Result<PathBuf> {
        if self.accounts.harness == self.accounts.mesh || open_to_all(path) {
            return Ok(path.to_path_buf());
        }
        let name = path.file_name().with_context(|| format!("{} has no name", path.display()))?;
        let copy = self.path().join("programs").join(name);
        let _one_at_a_time = self.linking.lock();
        if !copy.exists() {
            self.link(path, &copy)?;
        }
        Ok(copy)
    }

    /// Makes `link` the same program as `path`, as a hard link where the file systems allow it.
    pub fn link(&self, path: &Path, link: &Path) -> Result<()> {
        if let Some(folder) = link.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let copied = [["-aT", "--link"].as_slice(), &["-aT"]].into_iter().any(|how| {
            let copying = Command::new("cp").args(how).arg("--").arg(path).arg(link).output();
            copying.is_ok_and(|output| output.status.success())
        });
        if !copied {
            bail!("cannot copy {} to {}", path.display(), link.display());
        }
        Ok(())
    }
}

fn open_to_all(path: &Path) -> bool {
    path.ancestors().all(|part| {
        fs::metadata(part).is_ok_and(|metadata| metadata.permissions().mode() & 0o005 == 0o005)
    })
}

/// An address per stage: the process number tells processes apart, a counter the stages within one.
fn address_of_our_own() -> Ipv4Addr {
    static STAGES: AtomicU32 = AtomicU32::new(0);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let stage = STAGES.fetch_add(1, Ordering::Relaxed) % 250;
    Ipv4Addr::new(127, high.max(1), low, u8::try_from(stage).unwrap_or(0) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_share_neither_directory_nor_address() {
        let (one, two) = (Stage::set(None).unwrap(), Stage::set(None).unwrap());
        assert_ne!(one.path(), two.path());
        assert_ne!(one.address, two.address);
        assert!(one.address.is_loopback());
    }

    #[test]
    fn no_port_is_given_twice() {
        let stage = Stage::set(None).unwrap();
        let ports: BTreeSet<u16> = (0..2_000).map(|_| stage.free_port().unwrap()).collect();
        assert_eq!(ports.len(), 2_000);
    }

    #[test]
    fn the_directory_ends_with_the_stage() {
        let stage = Stage::set(None).unwrap();
        let path = stage.path().to_path_buf();
        drop(stage);
        assert!(!path.exists());
    }
}
