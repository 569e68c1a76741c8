//! Why and how a running session ends.
//!
//! From its end on nothing more of the client reaches Postgres, and the client shall read why. The filter can speak to the
//! client only when Postgres speaks, so Postgres is asked to finish. Where that cannot be, since the client has sent only
//! part of a message and would have it completed, and where Postgres is too busy to listen, the error waits for the next
//! time that Postgres is ready for a query.
//!
//! A client sees a bare end of its connection in these cases: it has sent only part of a message and Postgres is silent; a
//! query runs, or its rows come, until the last deadline. Postgres notices at its next read or write, and a query that
//! does neither runs on unless `client_connection_check_interval` is set.

use std::rc::Rc;

use host_calls::{Buffer, HostError, Level, read_buffer, resume_downstream, write_buffer};
use pgwire::{
    ErrorResponse, FINISH, Packet, READY_SIZE, StartupMessage, ends_in_ready, read_packet,
};

use super::{ALL, Phase, Session, drop_client_bytes};
use crate::{
    configuration::Configuration,
    startup::{self, Allowed, Denied},
    timer,
};

/// Seconds that Postgres has to finish a session that is being ended.
const FINISH_DEADLINE: u64 = 10;
/// Seconds that it has to be ready for another query, if it cannot be asked to finish or did not.
const CUT_DEADLINE: u64 = 5;

impl Session {
    /// When a session that began at `opened_at` loses its reason by time alone.
    pub(super) fn ends_at(&self, allowed: &Allowed, opened_at: u64) -> Option<u64> {
        let grace = self.configuration.policy.session_grace();
        let expiry = self.peer().ok().filter(|_| allowed.ends_with_svid);
        let expiry = expiry.map(|peer| peer.expires_at.saturating_add(grace));
        let longest = allowed.max_session.map(|seconds| opened_at.saturating_add(seconds));
        expiry.into_iter().chain(longest).min()
    }

    /// Why the session must end now, if it must. Judges it again under a policy that is newer than its own.
    pub(super) fn reason_to_end(
        &mut self,
        now: u64,
        newest: &Rc<Configuration>,
    ) -> Option<&'static str> {
        let grant = self.grant.as_ref()?;
        if !Rc::ptr_eq(&self.configuration, newest) {
            let (packet, role, opened_at) =
                (grant.packet.clone(), grant.role.clone(), grant.opened_at);
            self.configuration = Rc::clone(newest);
            let Ok(Some(allowed)) =
                startup_of(&packet).map(|message| self.judge_again(&message)).transpose()
            else {
                return Some("the policy no longer allows it");
            };
            if allowed.role != role {
                return Some("the policy gives it another role");
            }
            let ends_at = self.ends_at(&allowed, opened_at);
            self.grant.as_mut()?.ends_at = ends_at;
        }
        let ends_at = self.grant.as_ref()?.ends_at?;
        (now >= ends_at).then_some("its certificate or its time has run out")
    }

    /// The certificate was good when the session began; whether it still must be is for `ends_at` to say.
    fn judge_again(&self, message: &StartupMessage<'_>) -> Result<Allowed, Denied> {
        startup::judge(
            &self.configuration.policy,
            self.peer().map(|peer| peer.id),
            message,
            &self.name,
        )
    }

    /// Nothing more of the client goes to Postgres. The error goes to the client as soon as it can.
    pub(super) fn end(&mut self, reason: &str, now: u64) -> Result<(), HostError> {
        self.configuration.metrics.ended.increment();
        self.log(Level::Warn, &format!("session ends: {reason}"));
        let detail = format!("session {}", self.name);
        let message = format!("signet: session ended: {reason}");
        let error = ErrorResponse {
            sqlstate: "57P01",
            message: &message,
            detail: &detail,
            hint: "connect again",
        }
        .encode();
        if !self.frames.at_boundary() {
            // The request to finish would be taken for the rest of the client's message, and complete a query.
            self.phase = Phase::Cut { error, deadline: now.saturating_add(CUT_DEADLINE) };
            return Ok(());
        }
        self.phase = Phase::Finish { error, deadline: now.saturating_add(FINISH_DEADLINE) };
        write_buffer(Buffer::Downstream, 0, ALL, FINISH)?;
        resume_downstream()
    }

    /// Of a message that has begun only rows of a running COPY go on: they commit nothing unless its end follows them, and
    /// behind a whole message Postgres can be asked to finish. A client amid a COPY rarely stands at a boundary.
    pub(super) fn on_bytes_of_cut_client(
        &mut self,
        size: usize,
        end: bool,
    ) -> Result<(), HostError> {
        let Phase::Cut { error, deadline } = &mut self.phase else { return Ok(()) };
        match self.frames.open_copy_data() {
            Some(rest) if rest <= size => {
                self.phase = Phase::Finish { error: std::mem::take(error), deadline: *deadline };
                // Envoy replaces only from a buffer's beginning on.
                let row = read_buffer(Buffer::Downstream, 0, rest)?;
                write_buffer(Buffer::Downstream, 0, ALL, &[&row, FINISH].concat())?;
                resume_downstream()
            }
            Some(_) => {
                self.follow_client(0, size)?;
                resume_downstream()
            }
            None => drop_client_bytes(end),
        }
    }

    /// Puts the error behind what Postgres says last.
    pub(super) fn on_last_server_bytes(&mut self, size: usize, end: bool) -> Result<(), HostError> {
        let (error, is_last) = match &self.phase {
            Phase::Finish { error, .. } => (error, end),
            Phase::Cut { error, .. } => (error, end || is_ready(size)?),
            _ => return Ok(()),
        };
        if is_last {
            write_buffer(Buffer::Upstream, size, 0, error)?;
            self.phase = Phase::Close { after: timer::now() };
        }
        Ok(())
    }

    /// Postgres has neither finished nor stopped to speak.
    pub(super) fn end_overdue(&mut self, now: u64) -> Result<(), HostError> {
        if let Phase::Finish { error, .. } = &mut self.phase {
            let deadline = now.saturating_add(CUT_DEADLINE);
            self.phase = Phase::Cut { error: std::mem::take(error), deadline };
            return Ok(());
        }
        self.hang_up("end_overdue", "the session did not end in time")
    }
}

/// Whether the chunk of the server ends in a whole `ReadyForQuery`.
fn is_ready(size: usize) -> Result<bool, HostError> {
    let Some(start) = size.checked_sub(READY_SIZE) else { return Ok(false) };
    read_buffer(Buffer::Upstream, start, READY_SIZE).map(|tail| ends_in_ready(&tail))
}

fn startup_of(packet: &[u8]) -> Option<StartupMessage<'_>> {
    match read_packet(packet).ok()??.packet {
        Packet::Startup(message) => Some(message),
        _ => None,
    }
}
