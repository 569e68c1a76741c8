//! A process that connected, held so that no other can pass for it.
//!
//! A process number alone names nobody: it is given again once its process is gone. The kernel's
//! handle of the very process that connected (`SO_PEERPIDFD`, Linux 6.5) does. Older kernels open a
//! handle by number; then the process must have started before its connection was taken up.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{getsockopt, sockopt::PeerPidfd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::time::{ClockId, clock_gettime};
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;

/// How often `/proc` is asked about a process where the kernel gives no handle.
const ASKED_EVERY: Duration = Duration::from_secs(1);

/// A process, from its connection until its death.
#[derive(Debug)]
pub struct Pin {
    pid: i32,
    uid: u32,
    gid: u32,
    handle: Handle,
}

#[derive(Debug)]
enum Handle {
    /// Readable once the process has ended. While it has not, its number is nobody else's.
    Pidfd(AsyncFd<OwnedFd>),
    /// When the process started, in clock ticks since boot: kernels before 5.3, and sandboxes.
    Started(u64),
}

/// Why a process cannot be pinned.
#[derive(Debug, thiserror::Error)]
pub enum PinFault {
    /// Its number means nothing here.
    #[error(
        "its process number is unknown here: it lives in another pid namespace, accepted are processes of ours"
    )]
    OtherNamespace,
    /// It ended, or another has its number now.
    #[error("process {pid} ended before it could be pinned")]
    Gone {
        /// The number it had.
        pid: i32,
    },
    /// It cannot be the one that connected.
    #[error("process {pid} did not start before its connection: the number was given again")]
    Reused {
        /// The number.
        pid: i32,
    },
    /// The system refused.
    #[error("process {pid} cannot be pinned: {source}")]
    System {
        /// The number.
        pid: i32,
        /// What the system said.
        source: io::Error,
    },
}

impl PinFault {
    /// The metric's label.
    pub(crate) fn class(&self) -> &'static str {
        match self {
            Self::OtherNamespace => "pid_namespace",
            Self::Gone { .. } => "process_gone",
            Self::Reused { .. } => "pid_reused",
            Self::System { .. } => "not_pinned",
        }
    }
}

impl Pin {
    /// Pins the process at the other end of a connection that was just accepted.
    pub fn take(connection: &UnixStream) -> Result<Self, PinFault> {
        let accepted = ticks_since_boot();
        let credentials =
            connection.peer_cred().map_err(|source| PinFault::System { pid: 0, source })?;
        let pid = credentials.pid().filter(|pid| *pid > 0).ok_or(PinFault::OtherNamespace)?;
        let handle = match getsockopt(connection, PeerPidfd) {
            Ok(pidfd) => Handle::watch(pid, pidfd)?,
            Err(Errno::ENOPROTOOPT) => Handle::by_number(pid, accepted)?,
            Err(Errno::ESRCH | Errno::EINVAL | Errno::ENODATA) => {
                return Err(PinFault::Gone { pid });
            }
            Err(errno) => return Err(PinFault::System { pid, source: errno.into() }),
        };
        let pin = Self { pid, uid: credentials.uid(), gid: credentials.gid(), handle };
        if pin.is_alive() { Ok(pin) } else { Err(PinFault::Gone { pid }) }
    }

    /// Its number, which is nobody else's while [`Pin::is_alive`].
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Its effective user when it connected.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Its effective group when it connected.
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// Whether it has not ended.
    pub fn is_alive(&self) -> bool {
        match &self.handle {
            Handle::Pidfd(pidfd) => !is_readable(pidfd.get_ref()),
            Handle::Started(then) => started(self.pid).is_ok_and(|now| now == *then),
        }
    }

    /// Waits for its end.
    pub async fn ended(&self) {
        match &self.handle {
            // An error of the runtime's own means that nobody watches any more: as good as an end.
            Handle::Pidfd(pidfd) => drop(pidfd.readable().await),
            Handle::Started(_) => {
                while self.is_alive() {
                    tokio::time::sleep(ASKED_EVERY).await;
                }
            }
        }
    }
}

/// Two are the same process only where they are the very same pin.
impl PartialEq for Pin {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Pin {}

/// As logs name it.
impl fmt::Display for Pin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "uid {} pid {}", self.uid, self.pid)
    }
}

impl Handle {
    #[expect(
        deprecated,
        reason = "what makes it unsound, a descriptor that is swapped, OwnedFd forbids"
    )]
    fn watch(pid: i32, pidfd: OwnedFd) -> Result<Self, PinFault> {
        AsyncFd::new(pidfd).map(Self::Pidfd).map_err(|source| PinFault::System { pid, source })
    }

    /// A handle of whoever has the number now, if that was so when the connection was `accepted`,
    /// in ticks since boot.
    fn by_number(pid: i32, accepted: u64) -> Result<Self, PinFault> {
        let number = Pid::from_raw(pid).ok_or(PinFault::OtherNamespace)?;
        let handle = match pidfd_open(number, PidfdFlags::NONBLOCK) {
            Ok(pidfd) => Some(Self::watch(pid, pidfd)?),
            Err(rustix::io::Errno::SRCH) => return Err(PinFault::Gone { pid }),
            Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => None,
            Err(errno) => return Err(PinFault::System { pid, source: errno.into() }),
        };
        // Read after the handle was opened: whoever started by now and has the number is the one
        // that the handle holds, or the handle shows that it ended.
        let started = started(pid).map_err(|source| PinFault::System { pid, source })?;
        // A tick is 10 ms: who started within the same one is in doubt, and may connect again.
        if started >= accepted {
            return Err(PinFault::Reused { pid });
        }
        Ok(handle.unwrap_or(Self::Started(started)))
    }
}

fn is_readable(pidfd: &OwnedFd) -> bool {
    let mut ready = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
    // What cannot be asked counts as ended: nothing is served to a process in doubt.
    poll(&mut ready, Some(&Timespec::default())).map_or(true, |count| count > 0)
}

/// When the process with this number started, in clock ticks since boot.
fn started(pid: i32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    start_of(&stat)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat")))
}

/// Field 22 of `/proc/PID/stat`; the second is the program's name, in parentheses and free of form.
fn start_of(stat: &str) -> Option<u64> {
    stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}

fn ticks_since_boot() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let ticks = rustix::param::clock_ticks_per_second();
    let (seconds, nanos) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
    seconds * ticks + nanos * ticks / 1_000_000_000
}

#[cfg(test)]
#[path = "pin_tests.rs"]
mod tests;
