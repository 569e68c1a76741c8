//! Why and how a running session ends.
//!
//! From its end on nothing more of the client reaches Postgres, and the client shall read why. The filter can speak to the
//! client only when Postgres speaks, so Postgres is asked to finish. A message that the client has sent part of is made whole
//! before that, and such that Postgres does nothing for it. Where neither can be, and where Postgres is too busy to listen,
//! the error waits for the next time that Postgres is ready for a query. A query for which that takes too long is cancelled,
//! as its own client could have done, and the error takes the place of what Postgres says to that.
//!
//! What Postgres is at when the connection closes is cancelled too ([`cancelling`]): its client may have left at once, or sent
//! several queries ahead.
//!
//! A client sees a bare end of its connection in these cases: its query cannot be cancelled in time, or nobody reads its
//! rows; it has sent part of a message that cannot be made whole (see [`ClientFrames::spoil`]) and Postgres is silent.
//!
//! [`cancelling`]: super::cancelling
//! [`ClientFrames::spoil`]: pgwire::ClientFrames::spoil

use std::rc::Rc;

use host_calls::{Buffer, HostError, Level, read_buffer, resume_downstream, write_buffer};
use pgwire::{
    CancelledQuery, ClientFrames, ErrorResponse, FILLER, FINISH, Packet, READY_SIZE,
    StartupMessage, TERMINATE, ends_in_ready, is_protocol_violation, read_packet,
};

use super::{ALL, Ending, Phase, Session, drop_client_bytes};
use crate::{
    configuration::Configuration,
    startup::{self, Allowed, Denied},
};

/// Seconds since a session's end that Postgres has to finish it.
const FINISH_DEADLINE: u64 = 10;
/// Seconds since the end that it has to be ready for another query, if it cannot be asked to finish or did not.
const CUT_DEADLINE: u64 = 45;
/// Seconds since the end that a query has to end that was cancelled then. With the two that an edit of the policy takes and
/// the timer's, this is less than the minute in which a session must be over.
const CANCEL_DEADLINE: u64 = 50;

/// Why a session must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The certificate that opened it expired, and the grace after that is over.
    SvidExpired,
    /// It has lasted as long as its rule lets it.
    MaxSession,
    /// A newer policy denies its start-up.
    PolicyDenies,
    /// A newer policy gives its start-up another role.
    PolicyRole,
    /// The identity of the database's workload is withdrawn.
    IdentityWithdrawn,
}

impl Reason {
    /// For access logs and the session's line.
    const fn code(self) -> &'static str {
        match self {
            Self::SvidExpired => "svid_expired",
            Self::MaxSession => "max_session",
            Self::PolicyDenies => "policy_denies",
            Self::PolicyRole => "policy_role",
            Self::IdentityWithdrawn => "identity_withdrawn",
        }
    }

    /// For the client.
    const fn text(self) -> &'static str {
        match self {
            Self::SvidExpired => "the certificate that opened it has expired",
            Self::MaxSession => "it has lasted as long as it may",
            Self::PolicyDenies => "the policy no longer allows it",
            Self::PolicyRole => "the policy gives it another role",
            Self::IdentityWithdrawn => "the identity of the database's workload is withdrawn",
        }
    }
}

/// When a session loses its reason by time alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Term {
    /// Seconds since 1970.
    at: u64,
    reason: Reason,
}

impl Ending {
    /// Moves it into another phase.
    fn take(&mut self) -> Self {
        Self { error: std::mem::take(&mut self.error), ..*self }
    }
}

impl Session {
    /// The term of a session that began at `opened_at`, if it has one.
    pub(super) fn term(&self, allowed: &Allowed, opened_at: u64) -> Option<Term> {
        let grace = self.configuration.policy.session_grace();
        let expiry = self.peer().ok().filter(|_| allowed.ends_with_svid).map(|peer| Term {
            at: peer.expires_at.saturating_add(grace),
            reason: Reason::SvidExpired,
        });
        let longest = allowed.max_session.map(|seconds| Term {
            at: opened_at.saturating_add(seconds),
            reason: Reason::MaxSession,
        });
        expiry.into_iter().chain(longest).min_by_key(|term| term.at)
    }

    /// Why the session must end now, if it must. Judges it again under a policy that is newer than its own.
    pub(super) fn reason_to_end(&mut self, now: u64, newest: &Rc<Configuration>) -> Option<Reason> {
        let grant = self.grant.as_ref()?;
        if !Rc::ptr_eq(&self.configuration, newest) {
            let (packet, role, opened_at) =
                (grant.packet.clone(), grant.account.role.clone(), grant.account.opened_at);
            self.configuration = Rc::clone(newest);
            if newest.policy.is_withdrawn() {
                return Some(Reason::IdentityWithdrawn);
            }
            let Ok(Some(allowed)) =
                startup_of(&packet).map(|message| self.judge_again(&message)).transpose()
            else {
                return Some(Reason::PolicyDenies);
            };
            if allowed.role != role {
                return Some(Reason::PolicyRole);
            }
            let term = self.term(&allowed, opened_at);
            self.grant.as_mut()?.term = term;
        }
        self.grant.as_ref()?.term.filter(|term| now >= term.at).map(|term| term.reason)
    }

    /// The certificate was good when the session began; whether it still must be is for its term to say.
    fn judge_again(&self, message: &StartupMessage<'_>) -> Result<Allowed, Denied> {
        startup::judge(
            &self.configuration.policy,
            self.peer().map(|peer| peer.id),
            message,
            &self.name,
        )
    }

    /// Nothing more of the client goes to Postgres. The error goes to the client as soon as it can.
    pub(super) fn end(&mut self, reason: Reason, now: u64) -> Result<(), HostError> {
        self.configuration.metrics.ended.increment();
        self.log(Level::Warn, &format!("session ends: {}", reason.text()));
        self.ended(reason.code())?;
        if let Some(grant) = &mut self.grant {
            grant.lingers = true;
        }
        let detail = format!("session {}", self.name);
        let message = format!("signet: session ended: {}", reason.text());
        let error = ErrorResponse {
            sqlstate: "57P01",
            message: &message,
            detail: &detail,
            hint: "connect again",
        }
        .encode();
        let ending = Ending { error, since: now, spoiled: false };
        let Some(filler) = self.frames.spoil(self.replicates()) else {
            // The request to finish would be taken for the rest of the client's message, and complete it.
            self.phase = Phase::Cut(ending);
            return Ok(());
        };
        self.ask_to_finish(ending, filler)
    }

    /// Sends Postgres what makes the client's message whole, and that the session is over.
    fn ask_to_finish(&mut self, ending: Ending, mut bytes: Vec<u8>) -> Result<(), HostError> {
        self.frames = ClientFrames::default();
        self.phase = Phase::Finish(Ending { spoiled: !bytes.is_empty(), ..ending });
        bytes.extend(if self.replicates() { TERMINATE } else { FINISH });
        write_buffer(Buffer::Downstream, 0, ALL, &bytes)?;
        resume_downstream()
    }

    fn replicates(&self) -> bool {
        self.grant.as_ref().is_some_and(|grant| grant.replicates)
    }

    /// What the client goes on to send. Of a message that is too large to be made whole, blanks go to Postgres in its place,
    /// until it can be.
    pub(super) fn on_cut_client_bytes(&mut self, size: usize, end: bool) -> Result<(), HostError> {
        let replicates = self.replicates();
        let mut blanks = vec![FILLER; self.frames.blank(size, replicates)];
        let Phase::Cut(ending) = &mut self.phase else { return drop_client_bytes(end) };
        match self.frames.spoil(replicates) {
            _ if blanks.is_empty() => drop_client_bytes(end),
            Some(filler) => {
                blanks.extend(filler);
                let ending = ending.take();
                self.ask_to_finish(ending, blanks)
            }
            None => {
                write_buffer(Buffer::Downstream, 0, ALL, &blanks)?;
                resume_downstream()
            }
        }
    }

    /// Puts the error behind what Postgres says last.
    pub(super) fn on_last_server_bytes(&mut self, size: usize, end: bool) -> Result<(), HostError> {
        let (ending, is_last) = match &self.phase {
            Phase::Finish(ending) | Phase::Cut(ending) if ending.spoiled && is_complaint(size)? => {
                write_buffer(Buffer::Upstream, 0, ALL, &ending.error)?;
                self.phase = Phase::close_soon();
                return Ok(());
            }
            Phase::Finish(ending) => (ending, end),
            Phase::Cut(ending) => (ending, end || is_ready(size)?),
            _ => return Ok(()),
        };
        if is_last {
            write_buffer(Buffer::Upstream, size, 0, &ending.error)?;
            self.phase = Phase::close_soon();
        }
        Ok(())
    }

    /// Puts the error in the place of the one that ends the query, or behind what Postgres says last.
    pub(super) fn on_cancelled_bytes(&mut self, size: usize, end: bool) -> Result<(), HostError> {
        let Phase::Cancelled(ending, query) = &mut self.phase else { return Ok(()) };
        let chunk = read_buffer(Buffer::Upstream, 0, size)?;
        let (mut bytes, is_cancelled) = query.push(&chunk);
        let is_last = is_cancelled || end || ends_in_ready(&bytes);
        if is_last {
            bytes.extend(query.take_rest());
            bytes.extend(&ending.error);
        }
        write_buffer(Buffer::Upstream, 0, ALL, &bytes)?;
        if is_last {
            self.phase = Phase::close_soon();
        }
        Ok(())
    }

    /// Goes on to the next means where the last one has had its time.
    pub(super) fn press(&mut self, now: u64) -> Result<(), HostError> {
        let lasts = |ending: &Ending| now.saturating_sub(ending.since);
        match &mut self.phase {
            Phase::Finish(ending) if lasts(ending) >= FINISH_DEADLINE => {
                self.phase = Phase::Cut(ending.take());
            }
            Phase::Cut(ending) if lasts(ending) >= CUT_DEADLINE => {
                let ending = ending.take();
                if !self.cancel() {
                    return self.hang_up_overdue();
                }
                self.phase = Phase::Cancelled(ending, CancelledQuery::default());
            }
            Phase::Cancelled(ending, _) if lasts(ending) >= CANCEL_DEADLINE => {
                return self.hang_up_overdue();
            }
            _ => {}
        }
        Ok(())
    }

    fn hang_up_overdue(&mut self) -> Result<(), HostError> {
        self.hang_up("end_overdue", "the session did not end in time")
    }
}

/// Whether the chunk of the server ends in a whole `ReadyForQuery`.
fn is_ready(size: usize) -> Result<bool, HostError> {
    let Some(start) = size.checked_sub(READY_SIZE) else { return Ok(false) };
    read_buffer(Buffer::Upstream, start, READY_SIZE).map(|tail| ends_in_ready(&tail))
}

/// Whether the chunk of the server says that a message made no sense, and nothing else.
fn is_complaint(size: usize) -> Result<bool, HostError> {
    /// Longer ones are passed on; they are no harm.
    const LONGEST: usize = 4096;
    Ok(size <= LONGEST && is_protocol_violation(&read_buffer(Buffer::Upstream, 0, size)?))
}

fn startup_of(packet: &[u8]) -> Option<StartupMessage<'_>> {
    match read_packet(packet).ok()??.packet {
        Packet::Startup(message) => Some(message),
        _ => None,
    }
}
