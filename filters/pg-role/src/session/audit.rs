//! What is told of a session once it is over: one line, whatever became of it.

use host_calls::{HostError, Level, set_wasm_property};

use super::{LeftBehind, Session};
use crate::{cancel_keys, startup::Allowed, timer};

/// The client has closed its side.
pub(super) const CLIENT_LEFT: &str = "client_left";
/// Postgres has closed its side.
pub(super) const POSTGRES_LEFT: &str = "postgres_left";
/// Postgres has refused what the policy allowed.
pub(super) const REFUSED_BY_POSTGRES: &str = "refused_by_postgres";
/// Neither side has said anything: the connection broke, or Envoy closed it.
const LOST: &str = "lost";

/// A session as the log will tell of it.
#[derive(Debug)]
pub(super) struct Account {
    /// The decision, and what was asked for.
    decision: String,
    pub(super) rule: String,
    pub(super) role: String,
    database: String,
    /// Seconds since 1970.
    pub(super) opened_at: u64,
    /// Process id and key of the backend, once it has told them.
    pub(super) backend: Option<(u32, Vec<u8>)>,
    end: Option<&'static str>,
    /// Bytes of the client and of Postgres.
    received: u64,
    sent: u64,
}

impl Account {
    pub(super) fn open(allowed: Allowed, opened_at: u64) -> Self {
        let Allowed { rule, role, database, account, .. } = allowed;
        Self {
            decision: account,
            rule,
            role,
            database,
            opened_at,
            backend: None,
            end: None,
            received: 0,
            sent: 0,
        }
    }

    pub(super) fn received(&mut self, bytes: usize) {
        self.received = self.received.saturating_add(bytes as u64);
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent = self.sent.saturating_add(bytes as u64);
    }

    /// Postgres has a backend for it; the log's first line about it.
    pub(super) fn begins(&mut self, pid: u32, key: Vec<u8>) -> String {
        self.backend = Some((pid, key));
        ["session begins: ", &self.decision, ", backend ", &pid.to_string()].concat()
    }

    /// The log's last line. Rules and roles have names without quotes, and what a database's name has of them is escaped.
    fn line(&self) -> String {
        let Self { rule, role, database, .. } = self;
        let backend =
            self.backend.as_ref().map_or_else(|| "-".to_owned(), |(pid, _)| pid.to_string());
        let [start, end, received, sent] = [self.opened_at, timer::now(), self.received, self.sent]
            .map(|number| number.to_string());
        let reason = self.end.unwrap_or(LOST);
        [
            "session over: rule=\"",
            rule,
            "\" role=\"",
            role,
            "\" database=\"",
            database,
            "\" backend=",
            &backend,
            " start=",
            &start,
            " end=",
            &end,
            " reason=",
            reason,
            " received=",
            &received,
            " sent=",
            &sent,
        ]
        .concat()
    }
}

impl Session {
    /// Notes why the session is over, for its line and for access logs. The first word counts.
    pub(super) fn ended(&mut self, reason: &'static str) -> Result<(), HostError> {
        match &mut self.grant {
            Some(grant) if grant.account.end.is_none() => {
                grant.account.end = Some(reason);
                set_wasm_property("signet.end", reason)
            }
            _ => Ok(()),
        }
    }

    /// The connection is gone, or will be at once. May come twice.
    pub(crate) fn on_close(&mut self) {
        let Some(grant) = self.grant.take() else { return };
        self.log(Level::Info, &grant.account.line());
        if let (Some((pid, key)), Ok(peer)) = (&grant.account.backend, self.peer())
            && let Err(error) = cancel_keys::forget(*pid, key, peer.id.as_str())
        {
            self.log(Level::Error, &format!("cannot forget the key of backend {pid}: {error}"));
        }
        if let Some((pid, key)) = grant.account.backend.filter(|_| grant.lingers) {
            self.log(Level::Warn, &format!("backend {pid} is left behind, and asked to cancel"));
            self.left_behind = Some(LeftBehind { pid, key });
        }
    }
}

/// Writes the decision where access logs find it.
pub(super) fn note(
    verdict: &str,
    reason: &str,
    rule: Option<&str>,
    login_role: Option<&str>,
) -> Result<(), HostError> {
    set_wasm_property("signet.decision", verdict)?;
    set_wasm_property("signet.reason", reason)?;
    if let Some(rule) = rule {
        set_wasm_property("signet.rule", rule)?;
    }
    if let Some(role) = login_role {
        set_wasm_property("signet.role", role)?;
    }
    Ok(())
}
