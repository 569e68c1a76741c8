//! One connection, from its first byte to its end.

use std::rc::Rc;

use host_calls::{
    Buffer, HostError, Level, close_downstream, log, property, read_buffer, resume_downstream,
    set_envoy_filter_state, set_wasm_property, write_buffer,
};
use pgwire::{
    BackendMessage, BackendMessages, CancelRequest, ErrorResponse, GSSENC_REQUEST,
    MAX_STARTUP_PACKET, Packet, PacketError, ProtocolVersion, SSL_REQUEST, StartupMessage,
    TERMINATE, read_packet, version_probe,
};
use signet_policy::{NoIdentity, Peer, SpiffeId};

use crate::{
    cancel_keys,
    configuration::Configuration,
    startup::{self, Allowed, Denied},
    timer,
};

/// Seconds until a client must have sent its whole start-up, TLS handshake included.
const STARTUP_DEADLINE: u64 = 15;
/// Seconds that Postgres has to finish a session that is being ended.
const ENDING_DEADLINE: u64 = 10;
/// The cluster that leads to Postgres.
const POSTGRES_CLUSTER: &str = "postgres";
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
    /// Postgres' first `ReadyForQuery`.
    Authentication(BackendMessages),
    /// Nothing: bytes go both ways.
    Relay,
    /// The end of Postgres' side, to put this error behind it.
    End { error: Vec<u8>, deadline: u64 },
    /// The client to read what was sent to it. The timer closes what it has not closed by then.
    Close { after: u64 },
}

/// What an allowed start-up leaves behind.
#[derive(Debug)]
struct Grant {
    /// The client's own packet, for judging it again under a newer policy.
    packet: Vec<u8>,
    role: String,
    opened_at: u64,
    /// When the session's reason ends, in seconds since 1970.
    ends_at: Option<u64>,
    /// Process id and key of the backend.
    backend: Option<(u32, Vec<u8>)>,
}

/// One connection of a client.
#[derive(Debug)]
pub(crate) struct Session {
    configuration: Rc<Configuration>,
    /// Envoy's connection id: what access logs call it too.
    name: String,
    /// The filter state that the listener wrote, once it may be read.
    peer: Option<Vec<u8>>,
    asked_for_ssl: bool,
    asked_for_gssenc: bool,
    route: Route,
    phase: Phase,
    grant: Option<Grant>,
    connected_at: u64,
}

impl Session {
    pub(crate) fn new(configuration: Rc<Configuration>) -> Self {
        let id = property(&["connection_id"]).ok().flatten();
        let id = id.as_deref().and_then(<[u8]>::first_chunk::<8>).copied().map(u64::from_le_bytes);
        Self {
            configuration,
            name: id.map_or_else(|| "-".to_owned(), |id| id.to_string()),
            peer: None,
            asked_for_ssl: false,
            asked_for_gssenc: false,
            route: Route::Undecided,
            phase: Phase::Startup,
            grant: None,
            connected_at: timer::now(),
        }
    }

    /// Bytes of the client are in the buffer. None goes on unless this says so.
    pub(crate) fn on_client_bytes(&mut self, size: usize, end: bool) -> Result<(), HostError> {
        match self.phase {
            Phase::Authentication(_) | Phase::Relay => resume_downstream(),
            Phase::Startup => self.on_startup_bytes(size, end),
            Phase::EncryptionAnswer if size == 0 && !end => Ok(()),
            Phase::EncryptionAnswer => {
                self.hang_up("bytes before the answer to a request for encryption")
            }
            // Whatever a client sends behind its own denial or end goes nowhere.
            Phase::AnswerToReplace(_) | Phase::End { .. } | Phase::Close { .. } => {
                write_buffer(Buffer::Downstream, 0, ALL, &[])
            }
        }
    }

    /// Bytes of the server, or of the echo, are in the buffer. They go on when this returns.
    pub(crate) fn on_server_bytes(&mut self, size: usize, end: bool) -> Result<(), HostError> {
        if self.route == Route::Deny {
            return Ok(());
        }
        match &mut self.phase {
            Phase::Authentication(messages) => {
                let chunk = read_buffer(Buffer::Upstream, 0, size)?;
                // An answer that is not protocol 3 is relayed: the client asked for it.
                let messages =
                    messages.push(&chunk).unwrap_or_else(|_| vec![BackendMessage::Ready]);
                messages.into_iter().try_for_each(|message| self.on_backend_message(message))
            }
            Phase::EncryptionAnswer => {
                let answer = read_buffer(Buffer::Upstream, 0, size)?;
                match answer.as_slice() {
                    b"N" => {
                        self.phase = Phase::Startup;
                        Ok(())
                    }
                    b"" => Ok(()),
                    // Encryption between client and server would hide the start-up from us.
                    _ => {
                        write_buffer(Buffer::Upstream, 0, ALL, &[])?;
                        self.hang_up("Postgres did not answer `N` to a request for encryption")
                    }
                }
            }
            Phase::AnswerToReplace(error) => {
                write_buffer(Buffer::Upstream, 0, ALL, error)?;
                self.phase = Phase::Close { after: timer::now() };
                Ok(())
            }
            Phase::End { error, .. } if end => {
                write_buffer(Buffer::Upstream, size, 0, error)?;
                self.phase = Phase::Close { after: timer::now() };
                Ok(())
            }
            Phase::Relay | Phase::End { .. } => Ok(()),
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
            Phase::Close { after } if now > *after => close_downstream(),
            Phase::End { deadline, .. } if now >= *deadline => {
                self.hang_up("the session did not end in time")
            }
            Phase::Startup | Phase::EncryptionAnswer | Phase::AnswerToReplace(_)
                if now.saturating_sub(self.connected_at) >= STARTUP_DEADLINE =>
            {
                self.hang_up("no whole start-up in time")
            }
            Phase::Authentication(_) | Phase::Relay => match self.reason_to_end(now, newest) {
                Some(reason) => self.end(reason, now),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// The connection is gone.
    pub(crate) fn on_close(&mut self) {
        let backend = self.grant.as_ref().and_then(|grant| grant.backend.as_ref());
        let (Some((pid, key)), Ok(peer)) = (backend, self.peer()) else { return };
        if let Err(error) = cancel_keys::forget(*pid, key, peer.id.as_str()) {
            self.log(Level::Error, &format!("cannot forget the key of backend {pid}: {error}"));
        }
    }

    /// Closes without a word to the client.
    pub(crate) fn hang_up(&mut self, why: &str) -> Result<(), HostError> {
        self.log(Level::Warn, &format!("closed: {why}"));
        if self.grant.is_none() {
            self.configuration.metrics.refused.increment();
            note("refuse", "hung_up", None, None)?;
        }
        self.phase = Phase::Close { after: 0 };
        close_downstream()
    }

    fn on_startup_bytes(&mut self, size: usize, end: bool) -> Result<(), HostError> {
        if self.peer.is_none() {
            self.peer = Some(property(&["filter_state", "signet.peer"])?.unwrap_or_default());
        }
        let bytes = read_buffer(Buffer::Downstream, 0, MAX_STARTUP_PACKET)?;
        let frame = match read_packet(&bytes) {
            Ok(Some(frame)) => frame,
            Ok(None) if end => {
                return self.hang_up("the client left before its start-up was whole");
            }
            Ok(None) => return Ok(()),
            Err(fault @ PacketError::Length(_)) => return self.hang_up(&fault.to_string()),
            Err(fault @ PacketError::Layout(_)) => {
                return self.refuse("08P01", "startup_malformed", &fault.to_string());
            }
        };
        // The buffer may hold more than was read of it.
        let packet_size = bytes.len() - frame.rest.len();
        match frame.packet {
            Packet::SslRequest | Packet::GssEncRequest if size > packet_size => {
                self.hang_up("bytes before the answer to a request for encryption")
            }
            Packet::SslRequest if !self.asked_for_ssl => {
                self.asked_for_ssl = true;
                self.on_encryption_request()
            }
            Packet::GssEncRequest if !self.asked_for_gssenc => {
                self.asked_for_gssenc = true;
                self.on_encryption_request()
            }
            Packet::SslRequest | Packet::GssEncRequest => {
                self.refuse("08P01", "encryption_asked_twice", "encryption was asked for twice")
            }
            Packet::Cancel(request) => self.on_cancel_request(request),
            Packet::OtherVersion(version) => self.on_other_version(version, packet_size),
            Packet::Startup(message) => {
                let packet = bytes.get(..packet_size).unwrap_or_default().to_vec();
                match startup::judge(
                    &self.configuration.policy,
                    self.identity(),
                    &message,
                    &self.name,
                ) {
                    Ok(allowed) => self.allow(allowed, packet),
                    Err(denied) => self.deny(denied),
                }
            }
        }
    }

    /// Answers by identity alone: the start-up that says more comes only after the answer.
    fn on_encryption_request(&mut self) -> Result<(), HostError> {
        if self.is_admitted() && self.route != Route::Deny {
            self.phase = Phase::EncryptionAnswer;
            self.pass_to_postgres()
        } else {
            self.route = Route::Deny;
            write_buffer(Buffer::Downstream, 0, ALL, b"N")?;
            resume_downstream()
        }
    }

    fn on_cancel_request(&mut self, request: CancelRequest<'_>) -> Result<(), HostError> {
        let CancelRequest { pid, key } = request;
        let permitted = match self.identity() {
            Ok(id) => cancel_keys::permits(pid, key, id.as_str())?,
            Err(_) => false,
        };
        if permitted && self.route != Route::Deny {
            self.configuration.metrics.cancels_passed.increment();
            self.log(Level::Info, &format!("passed a cancel of backend {pid}"));
            note("allow", "cancel", None, None)?;
            self.phase = Phase::Relay;
            self.pass_to_postgres()
        } else {
            self.configuration.metrics.cancels_dropped.increment();
            self.hang_up(&format!("a cancel of backend {pid} by somebody whose session it is not"))
        }
    }

    /// Lets Postgres itself answer a version that it does not speak, with nothing of the client's packet in it.
    fn on_other_version(
        &mut self,
        version: ProtocolVersion,
        packet_size: usize,
    ) -> Result<(), HostError> {
        let ProtocolVersion { major, minor } = version;
        let message = format!("protocol {major}.{minor} is not spoken here, 3.0 to 3.2 are");
        if !self.is_admitted() {
            return self.refuse("0A000", "protocol_version", &message);
        }
        self.log(Level::Warn, &message);
        note("refuse", "protocol_version", None, None)?;
        write_buffer(Buffer::Downstream, 0, packet_size, &version_probe(version))?;
        self.phase = Phase::Relay;
        self.pass_to_postgres()
    }

    fn on_backend_message(&mut self, message: BackendMessage) -> Result<(), HostError> {
        match message {
            BackendMessage::KeyData { pid, key } => {
                if let Ok(peer) = self.peer() {
                    cancel_keys::remember(pid, &key, peer.id.as_str())?;
                }
                let role = self.grant.as_ref().map_or("-", |grant| &grant.role);
                self.log(Level::Info, &format!("session begins: role \"{role}\", backend {pid}"));
                if let Some(grant) = &mut self.grant {
                    grant.backend = Some((pid, key));
                }
            }
            BackendMessage::Error { sqlstate } => {
                let sqlstate = sqlstate.escape_default();
                self.log(
                    Level::Warn,
                    &format!("Postgres refused the start-up: SQLSTATE {sqlstate}"),
                );
            }
            BackendMessage::Ready => self.phase = Phase::Relay,
        }
        Ok(())
    }

    fn allow(&mut self, allowed: Allowed, packet: Vec<u8>) -> Result<(), HostError> {
        if self.route == Route::Deny {
            return self.refuse("28000", "denied_before", "access denied");
        }
        self.configuration.metrics.allowed.increment();
        self.log(Level::Info, &allowed.account);
        note("allow", "allowed", Some(&allowed.rule), Some(&allowed.role))?;
        write_buffer(Buffer::Downstream, 0, packet.len(), &allowed.packet)?;
        let opened_at = timer::now();
        let ends_at = self.ends_at(&allowed, opened_at);
        self.grant = Some(Grant { packet, role: allowed.role, opened_at, ends_at, backend: None });
        self.phase = Phase::Authentication(BackendMessages::default());
        self.pass_to_postgres()
    }

    fn refuse(
        &mut self,
        sqlstate: &str,
        reason: &'static str,
        message: &str,
    ) -> Result<(), HostError> {
        self.deny(Denied::refused(sqlstate, reason, message, &self.name))
    }

    /// Sends the error to the client. No backend learns of it, unless one was asked for encryption before.
    fn deny(&mut self, denied: Denied) -> Result<(), HostError> {
        let metrics = &self.configuration.metrics;
        let counter = match denied.verdict {
            "deny" if denied.has_identity => metrics.denied,
            "deny" => metrics.no_identity,
            _ => metrics.refused,
        };
        counter.increment();
        self.log(Level::Warn, &denied.account);
        note(denied.verdict, denied.reason, denied.rule.as_deref(), None)?;
        if self.route == Route::Postgres {
            // Only what Postgres sends can be turned into an error now. The request for encryption that it has not had
            // yet makes it send one byte.
            metrics.denied_after_relay.increment();
            let unused = if self.asked_for_ssl { GSSENC_REQUEST } else { SSL_REQUEST };
            write_buffer(Buffer::Downstream, 0, ALL, &unused)?;
            self.phase = Phase::AnswerToReplace(denied.error);
        } else {
            self.route = Route::Deny;
            write_buffer(Buffer::Downstream, 0, ALL, &denied.error)?;
            self.phase = Phase::Close { after: timer::now() };
        }
        resume_downstream()
    }

    fn pass_to_postgres(&mut self) -> Result<(), HostError> {
        if self.route == Route::Undecided {
            set_envoy_filter_state("envoy.tcp_proxy.cluster", POSTGRES_CLUSTER)?;
            self.route = Route::Postgres;
        }
        resume_downstream()
    }

    /// The peer's SPIFFE ID, as long as its certificate is good for a new connection.
    fn identity(&self) -> Result<SpiffeId<'_>, NoIdentity> {
        self.peer()?.check_expiry(timer::now(), self.configuration.policy.expiry_grace())
    }

    fn peer(&self) -> Result<Peer<'_>, NoIdentity> {
        Peer::from_filter_state(self.peer.as_deref().unwrap_or_default())
    }

    fn is_admitted(&self) -> bool {
        self.identity().is_ok_and(|id| self.configuration.policy.admits_postgres_peer(id))
    }

    /// When a session that began at `opened_at` loses its reason by time alone.
    fn ends_at(&self, allowed: &Allowed, opened_at: u64) -> Option<u64> {
        let grace = self.configuration.policy.session_grace();
        let expiry = self.peer().ok().filter(|_| allowed.ends_with_svid);
        let expiry = expiry.map(|peer| peer.expires_at.saturating_add(grace));
        let longest = allowed.max_session.map(|seconds| opened_at.saturating_add(seconds));
        expiry.into_iter().chain(longest).min()
    }

    /// Why the session must end now, if it must. Judges it again under a policy that is newer than its own.
    fn reason_to_end(&mut self, now: u64, newest: &Rc<Configuration>) -> Option<&'static str> {
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
    fn end(&mut self, reason: &str, now: u64) -> Result<(), HostError> {
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

    fn log(&self, level: Level, text: &str) {
        let peer = self.peer().map_or("-", |peer| peer.id.as_str());
        log(level, &format!("session {} of {peer}: {text}", self.name));
    }
}

fn startup_of(packet: &[u8]) -> Option<StartupMessage<'_>> {
    match read_packet(packet).ok()??.packet {
        Packet::Startup(message) => Some(message),
        _ => None,
    }
}

/// Writes the decision where access logs find it.
fn note(
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
