//! One connection, from its first byte to its end.
//!
//! Here is what every phase does with an event; the phases' own work stands in [`opening`], [`backend`], [`ending`] and
//! [`cancelling`], and what is told of it afterwards in [`audit`].

mod audit;
mod backend;
mod cancelling;
mod ending;
mod opening;

use std::rc::Rc;

use host_calls::{
    Buffer, HostError, Level, close_downstream, log, property, read_buffer, resume_downstream,
    reuse, write_buffer,
};
use pgwire::{BackendMessages, CancelledQuery, ClientFrames};
use signet_policy::{NoIdentity, OwnedPeer, Peer, SpiffeId};

use crate::{configuration::Configuration, timer};
use audit::{Account, note};
pub(crate) use cancelling::LeftBehind;
use ending::Term;

/// Seconds until a client must have sent its whole start-up, TLS handshake included.
const STARTUP_DEADLINE: u64 = 15;
/// Access logs' reason for bytes that came before their turn.
const PIPELINED: &str = "pipelined";
/// To the end of a buffer.
const ALL: usize = usize::MAX;

/// Where `tcp_proxy` leads. It chooses once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    /// It still waits.
    Undecided,
    /// To the echo, which sends back what it gets.
    Deny,
    /// To Postgres.
    Postgres,
}

/// What the connection waits for.
#[derive(Debug)]
enum Phase {
    /// The client's next start-up packet.
    Startup,
    /// Postgres' one-byte answer to a request for encryption.
    EncryptionAnswer,
    /// Any answer of Postgres, to put this error in its place.
    AnswerToReplace(Vec<u8>),
    /// Postgres' last answer: the client has nothing more to say.
    LastAnswer,
    /// Postgres' first `ReadyForQuery`.
    Authentication(BackendMessages),
    /// Nothing: bytes go both ways.
    Relay,
    /// The end of Postgres' side, to put this error behind it: Postgres has been asked to finish.
    Finish(Ending),
    /// Postgres to be ready for another query, to put this error behind that: it could not be asked, or did not finish.
    Cut(Ending),
    /// The end of the query that was cancelled, to put this error in the place of its own.
    Cancelled(Ending, CancelledQuery),
    /// The client to read what was sent to it. The timer closes what it has not closed by then.
    Close { after: u64 },
}

impl Phase {
    /// Gives the client a whole second to read what it is sent now: the clock shows seconds, of which this one may be over.
    fn close_soon() -> Self {
        Self::Close { after: timer::now().saturating_add(1) }
    }
}

/// A session that has lost its reason.
#[derive(Debug)]
struct Ending {
    /// What its client shall read.
    error: Vec<u8>,
    /// Since when, in seconds since 1970.
    since: u64,
    /// Postgres has been sent a message that makes no sense, and will say so.
    spoiled: bool,
}

/// What an allowed start-up leaves behind.
#[derive(Debug)]
struct Grant {
    /// The client's own packet, for judging it again under a newer policy.
    packet: Vec<u8>,
    replicates: bool,
    /// When the session's reason ends.
    term: Option<Term>,
    account: Account,
    /// It was ended here, and Postgres has not ended its side since.
    lingers: bool,
}

/// One connection of a client.
#[derive(Debug)]
pub(crate) struct Session {
    configuration: Rc<Configuration>,
    /// Envoy's connection id: what access logs call it too.
    name: String,
    /// What the listener's filter state says, once it may be read.
    peer: Option<Result<OwnedPeer, NoIdentity>>,
    asked_for_ssl: bool,
    asked_for_gssenc: bool,
    route: Route,
    phase: Phase,
    /// Where the client's bytes stand since its start-up went on.
    frames: ClientFrames,
    grant: Option<Grant>,
    left_behind: Option<LeftBehind>,
    connected_at: u64,
}

impl Session {
    pub(crate) fn new(configuration: Rc<Configuration>) -> Self {
        let id = property("connection_id").ok().flatten();
        let id = id.as_deref().and_then(<[u8]>::first_chunk::<8>).copied().map(u64::from_le_bytes);
        Self {
            configuration,
            name: id.map_or_else(|| "-".to_owned(), |id| id.to_string()),
            peer: None,
            asked_for_ssl: false,
            asked_for_gssenc: false,
            route: Route::Undecided,
            phase: Phase::Startup,
            frames: ClientFrames::default(),
            grant: None,
            left_behind: None,
            connected_at: timer::now(),
        }
    }

    /// Bytes of the client are in the buffer. None goes on unless this says so.
    pub(crate) fn on_client_bytes(&mut self, size: usize, end: bool) -> Result<(), HostError> {
        match self.phase {
            Phase::Authentication(_) | Phase::Relay => {
                self.follow_client(0, size)?;
                if end {
                    self.ended(audit::CLIENT_LEFT)?;
                }
                resume_downstream()
            }
            Phase::Startup => self.on_startup_bytes(size, end),
            Phase::EncryptionAnswer if size == 0 && end => self.left_early(),
            Phase::EncryptionAnswer if size == 0 => Ok(()),
            Phase::EncryptionAnswer => {
                self.hang_up(PIPELINED, "bytes before the answer to a request for encryption")
            }
            Phase::Close { .. } if end => self.close(),
            Phase::Cut(_) => self.on_cut_client_bytes(size, end),
            Phase::AnswerToReplace(_)
            | Phase::LastAnswer
            | Phase::Finish(_)
            | Phase::Cancelled(..)
            | Phase::Close { .. } => drop_client_bytes(end),
        }
    }

    /// Takes note of `size` bytes of the client, from `start` of its buffer on, that go to Postgres.
    fn follow_client(&mut self, start: usize, size: usize) -> Result<(), HostError> {
        if let Some(grant) = &mut self.grant {
            grant.account.received(size);
        }
        let read =
            |position, size| read_buffer(Buffer::Downstream, start.saturating_add(position), size);
        self.frames.follow(size, read, reuse)
    }

    /// Bytes of the server, or of the echo, are in the buffer. They go on when this returns.
    pub(crate) fn on_server_bytes(&mut self, size: usize, end: bool) -> Result<(), HostError> {
        if self.route == Route::Deny {
            return Ok(());
        }
        if let Some(grant) = &mut self.grant {
            grant.account.sent(size);
            grant.lingers &= !end;
        }
        self.by_phase(size, end)?;
        if end && matches!(self.phase, Phase::Authentication(_) | Phase::Relay) {
            self.ended(audit::POSTGRES_LEFT)?;
            // Else a client that stays could hold the connection for as long as it likes.
            self.phase = Phase::close_soon();
        }
        Ok(())
    }

    fn by_phase(&mut self, size: usize, end: bool) -> Result<(), HostError> {
        match &mut self.phase {
            Phase::Authentication(messages) => {
                let chunk = read_buffer(Buffer::Upstream, 0, size)?;
                messages
                    .push(&chunk)
                    .into_iter()
                    .try_for_each(|message| self.on_backend_message(message))
            }
            Phase::EncryptionAnswer => self.on_encryption_answer(size),
            Phase::AnswerToReplace(error) => {
                write_buffer(Buffer::Upstream, 0, ALL, error)?;
                self.phase = Phase::close_soon();
                Ok(())
            }
            Phase::Finish(_) | Phase::Cut(_) => self.on_last_server_bytes(size, end),
            Phase::Cancelled(..) => self.on_cancelled_bytes(size, end),
            Phase::Relay | Phase::LastAnswer => Ok(()),
            Phase::Startup | Phase::Close { .. } => write_buffer(Buffer::Upstream, 0, ALL, &[]),
        }
    }

    /// The timer. Calls concern this connection; only the client's buffer can be written.
    pub(crate) fn on_tick(
        &mut self,
        now: u64,
        newest: &Rc<Configuration>,
    ) -> Result<(), HostError> {
        match &self.phase {
            Phase::Close { after } if now > *after => self.close(),
            Phase::Finish(_) | Phase::Cut(_) | Phase::Cancelled(..) => self.press(now),
            Phase::Startup
            | Phase::EncryptionAnswer
            | Phase::AnswerToReplace(_)
            | Phase::LastAnswer
                if now.saturating_sub(self.connected_at) >= STARTUP_DEADLINE =>
            {
                self.hang_up("startup_overdue", "no whole start-up in time")
            }
            Phase::Authentication(_) | Phase::Relay => match self.reason_to_end(now, newest) {
                Some(reason) => self.end(reason, now),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Closes without a word to the client. `reason` is for access logs, where no decision stands there yet.
    pub(crate) fn hang_up(&mut self, reason: &str, why: &str) -> Result<(), HostError> {
        self.log(Level::Warn, &format!("closed: {why}"));
        if matches!(self.phase, Phase::Startup | Phase::EncryptionAnswer) {
            self.count_refusal();
            note("refuse", reason, None, None)?;
        }
        self.phase = Phase::Close { after: 0 };
        self.close()
    }

    fn left_early(&mut self) -> Result<(), HostError> {
        self.hang_up("startup_cut_short", "the client left before its start-up was whole")
    }

    /// Counts a start-up that is refused, and whether a backend was asked for encryption before.
    fn count_refusal(&self) {
        let metrics = &self.configuration.metrics;
        metrics.refused.increment();
        if self.route == Route::Postgres {
            metrics.denied_after_relay.increment();
        }
    }

    /// The backend that the connection has left behind; told once.
    pub(crate) fn take_left_behind(&mut self) -> Option<LeftBehind> {
        self.left_behind.take()
    }

    /// Envoy may end this context before the call returns, while the session is at work: so what is to be done at its end
    /// is done first.
    fn close(&mut self) -> Result<(), HostError> {
        self.on_close();
        close_downstream()
    }

    /// The peer's SPIFFE ID, as long as its certificate is good for a new connection.
    fn identity(&self) -> Result<SpiffeId<'_>, NoIdentity> {
        self.peer()?.check_expiry(timer::now(), self.configuration.policy.expiry_grace())
    }

    fn peer(&self) -> Result<Peer<'_>, NoIdentity> {
        match &self.peer {
            Some(Ok(peer)) => Ok(peer.peer()),
            Some(Err(no_identity)) => Err(*no_identity),
            None => Err(NoIdentity::NoCertificate),
        }
    }

    fn is_admitted(&self) -> bool {
        self.identity().is_ok_and(|id| self.configuration.policy.admits_postgres_peer(id))
    }

    fn log(&self, level: Level, text: &str) {
        let peer = self.peer().map_or("-", |peer| peer.id.as_str());
        log(level, &["session ", &self.name, " of ", peer, ": ", text].concat());
    }
}

/// What a client sends behind its denial or its end goes nowhere; that it leaves goes on to Postgres.
fn drop_client_bytes(end: bool) -> Result<(), HostError> {
    write_buffer(Buffer::Downstream, 0, ALL, &[])?;
    if end { resume_downstream() } else { Ok(()) }
}
