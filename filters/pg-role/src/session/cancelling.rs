//! The cancel of what a backend is at when its session is over: the one that its own client could have sent.

use host_calls::{HostError, Level, log, post};
use pgwire::cancel_request;

use super::Session;

/// The cluster that takes a POST to [`PATH`], and gives its body to Postgres on a connection of its own.
const CLUSTER: &str = "cancel";
const PATH: &str = "/cancel";

/// A backend whose session was ended and whose connection is gone, while Postgres had not ended its side: it may be at a
/// query still.
#[derive(Debug)]
pub(crate) struct LeftBehind {
    pub(super) pid: u32,
    pub(super) key: Vec<u8>,
}

impl LeftBehind {
    /// Lets Postgres cancel what the backend is at. It then speaks, sees that nobody listens, and executes nothing of what
    /// its client had sent ahead: so this comes after the connection's end, from a context that outlives it.
    pub(crate) fn cancel(&self) {
        if let Err(error) = ask(self.pid, &self.key) {
            log(Level::Warn, &cannot(self.pid, error));
        }
    }
}

impl Session {
    /// Lets Postgres cancel what the session is at; whether it was asked. Where Postgres is at nothing it does nothing.
    pub(super) fn cancel(&self) -> bool {
        let backend = self.grant.as_ref().and_then(|grant| grant.account.backend.as_ref());
        let Some((pid, key)) = backend else { return false };
        match ask(*pid, key) {
            Ok(()) => {
                self.log(Level::Warn, &format!("session ends: backend {pid} is asked to cancel"));
                true
            }
            Err(error) => {
                self.log(Level::Warn, &cannot(*pid, error));
                false
            }
        }
    }
}

fn ask(pid: u32, key: &[u8]) -> Result<(), HostError> {
    post(CLUSTER, PATH, &cancel_request(pid, key))
}

fn cannot(pid: u32, error: HostError) -> String {
    format!("cannot cancel what backend {pid} is at: {error}")
}
