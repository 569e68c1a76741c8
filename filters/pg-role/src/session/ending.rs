//! Why and how a running session ends.

use std::rc::Rc;

use host_calls::{Buffer, HostError, Level, resume_downstream, write_buffer};
use pgwire::{ErrorResponse, Packet, StartupMessage, TERMINATE, read_packet};

use super::{ALL, Phase, Session};
use crate::{
    configuration::Configuration,
    startup::{self, Allowed, Denied},
};

/// Seconds that Postgres has to finish a session that is being ended.
const ENDING_DEADLINE: u64 = 10;

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

    /// Asks Postgres to finish, behind whatever the client has sent; the error goes to the client behind its last answer.
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
        };
        self.phase =
            Phase::End { error: error.encode(), deadline: now.saturating_add(ENDING_DEADLINE) };
        write_buffer(Buffer::Downstream, 0, ALL, &TERMINATE)?;
        resume_downstream()
    }
}

fn startup_of(packet: &[u8]) -> Option<StartupMessage<'_>> {
    match read_packet(packet).ok()??.packet {
        Packet::Startup(message) => Some(message),
        _ => None,
    }
}
