//! Who is at the other end of a connection.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use spiffe::SpiffeId;

use crate::sources::Pin;

/// The other end of a connection, as the listener found it: never as it calls itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A process of this machine, named by the kernel.
    Local(LocalPeer),
    /// A workload anywhere, named by its SVID, and the address from which it came.
    Remote(SpiffeId, IpAddr),
}

/// A process as the kernel knew it when it connected (`SO_PEERCRED`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LocalPeer {
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
    /// Unknown where the process lives in another pid namespace.
    pub pid: Option<i32>,
    /// The very process, where it is attested.
    pub pin: Option<Arc<Pin>>,
}

/// Whom limits and memories are kept for; it outlives a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Account {
    /// All processes of a user.
    User(u32),
    /// One process, where processes are attested.
    Process(i32),
    /// A workload, wherever it runs.
    Workload(SpiffeId),
}

/// What tells the peers of an account from each other: what the kernel says, not they.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// A process of this machine; unknown which where it lives in another pid namespace.
    Process(Option<i32>),
    /// Whoever has this address.
    Host(IpAddr),
}

impl Peer {
    /// Whom its connections and refusals are counted for.
    pub(crate) fn account(&self) -> Account {
        match self {
            Self::Local(LocalPeer { pin: Some(pin), .. }) => Account::Process(pin.pid()),
            Self::Local(process) => Account::User(process.uid),
            Self::Remote(id, _) => Account::Workload(id.clone()),
        }
    }

    /// Where it is.
    pub(crate) fn place(&self) -> Place {
        match self {
            Self::Local(process) => Place::Process(process.pid),
            Self::Remote(_, host) => Place::Host(*host),
        }
    }

    /// The metrics' label of how it came.
    pub(crate) fn transport(&self) -> &'static str {
        match self {
            Self::Local(_) => "unix",
            Self::Remote(..) => "tcp",
        }
    }
}

/// As logs and admin pages name it.
impl fmt::Display for Peer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(LocalPeer { uid, pid: Some(pid), .. }) => {
                write!(out, "uid {uid} pid {pid}")
            }
            Self::Local(LocalPeer { uid, pid: None, .. }) => write!(out, "uid {uid}"),
            Self::Remote(id, _) => id.fmt(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use spiffe::SpiffeId;

    use super::{Account, LocalPeer, Peer, Place};

    #[test]
    fn a_peer_is_shown_as_what_was_proven_of_it() {
        let local = |pid| Peer::Local(LocalPeer { uid: 7, gid: 8, pid, pin: None });
        let id = SpiffeId::new("spiffe://example.org/ns/a/sa/envoy").expect("an ID");
        let host = [10, 0, 0, 1].into();
        for (peer, shown, account, place) in [
            (local(Some(9)), "uid 7 pid 9", Account::User(7), Place::Process(Some(9))),
            (local(None), "uid 7", Account::User(7), Place::Process(None)),
            (
                Peer::Remote(id.clone(), host),
                "spiffe://example.org/ns/a/sa/envoy",
                Account::Workload(id),
                Place::Host(host),
            ),
        ] {
            assert_eq!((peer.to_string().as_str(), peer.account()), (shown, account));
            assert_eq!(peer.place(), place);
        }
    }
}
