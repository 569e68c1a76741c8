//! From the first byte to the decision.

use host_calls::{
    Buffer, HostError, Level, property, read_buffer, resume_downstream, set_envoy_filter_state,
    set_wasm_property, write_buffer,
};
use pgwire::{
    BackendMessages, CancelRequest, GSSENC_REQUEST, MAX_STARTUP_PACKET, Packet, PacketError,
    ProtocolVersion, SSL_REQUEST, read_packet, version_probe,
};

use signet_policy::OwnedPeer;

use super::{ALL, Account, Grant, PIPELINED, Phase, Route, Session, note};
use crate::{
    cancel_keys,
    startup::{self, Allowed, Denied},
    timer,
};

/// The cluster that leads to Postgres.
const POSTGRES_CLUSTER: &str = "postgres";

impl Session {
    pub(super) fn on_startup_bytes(&mut self, size: usize, end: bool) -> Result<(), HostError> {
        if self.peer.is_none() {
            let state = property("filter_state\0signet.peer")?.unwrap_or_default();
            self.peer = Some(OwnedPeer::from_filter_state(&state));
        }
        let bytes = read_buffer(Buffer::Downstream, 0, MAX_STARTUP_PACKET)?;
        let frame = match read_packet(&bytes) {
            Ok(Some(frame)) => frame,
            Ok(None) if end => return self.left_early(),
            Ok(None) => return Ok(()),
            Err(fault @ PacketError::Length(_)) => {
                return self.hang_up("startup_length", &fault.to_string());
            }
            Err(fault @ PacketError::Layout(_)) => {
                return self.refuse(
                    "08P01",
                    "startup_malformed",
                    &fault.to_string(),
                    "send a start-up packet of protocol 3.0 to 3.2",
                );
            }
        };
        // The buffer may hold more than was read of it.
        let packet_size = bytes.len() - frame.rest.len();
        let packet = bytes.get(..packet_size).unwrap_or_default();
        match frame.packet {
            Packet::SslRequest | Packet::GssEncRequest if size > packet_size => {
                self.hang_up(PIPELINED, "bytes before the answer to a request for encryption")
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
                let message = "encryption was asked for twice";
                let hint = "ask for each kind once, then send the start-up packet";
                self.refuse("08P01", "encryption_asked_twice", message, hint)
            }
            Packet::Cancel(request) => self.on_cancel_request(request, packet),
            Packet::OtherVersion(version) => self.on_other_version(version),
            Packet::Startup(message) => {
                match startup::judge(
                    &self.configuration.policy,
                    self.identity(),
                    &message,
                    &self.name,
                ) {
                    Ok(allowed) => self.allow(allowed, packet.to_vec(), size),
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

    fn on_cancel_request(
        &mut self,
        request: CancelRequest<'_>,
        packet: &[u8],
    ) -> Result<(), HostError> {
        let CancelRequest { pid, key } = request;
        let permitted = match self.identity() {
            Ok(id) => cancel_keys::permits(pid, key, id.as_str())?,
            Err(_) => false,
        };
        if permitted && self.route != Route::Deny {
            self.configuration.metrics.cancels_passed.increment();
            self.log(Level::Info, &format!("passed a cancel of backend {pid}"));
            note("allow", "cancel", None, None)?;
            write_buffer(Buffer::Downstream, 0, ALL, packet)?;
            self.phase = Phase::LastAnswer;
            self.pass_to_postgres()
        } else {
            self.configuration.metrics.cancels_dropped.increment();
            self.hang_up(
                "cancel",
                &format!("a cancel of backend {pid} by somebody whose session it is not"),
            )
        }
    }

    /// Lets Postgres itself answer a version that it does not speak, with nothing of the client's own in it: whatever
    /// speaks that version could take it for a user.
    fn on_other_version(&mut self, version: ProtocolVersion) -> Result<(), HostError> {
        let ProtocolVersion { major, minor } = version;
        let message = format!("protocol {major}.{minor} is not spoken here, 3.0 to 3.2 are");
        if !self.is_admitted() {
            let hint = "use a driver that speaks protocol 3.0 to 3.2";
            return self.refuse("0A000", "protocol_version", &message, hint);
        }
        self.log(Level::Warn, &message);
        note("refuse", "protocol_version", None, None)?;
        write_buffer(Buffer::Downstream, 0, ALL, &version_probe(version))?;
        self.phase = Phase::LastAnswer;
        self.pass_to_postgres()?;
        self.count_refusal();
        Ok(())
    }

    /// `size` is that of the buffer: what stands behind the packet goes on with it.
    fn allow(&mut self, allowed: Allowed, packet: Vec<u8>, size: usize) -> Result<(), HostError> {
        if self.route == Route::Deny {
            let hint = "connect again: the policy allows it since this connection began";
            return self.refuse("28000", "denied_before", "access denied", hint);
        }
        self.configuration.metrics.allowed.increment();
        note("allow", "allowed", Some(&allowed.rule), Some(&allowed.role))?;
        set_wasm_property("signet.database", &allowed.database)?;
        write_buffer(Buffer::Downstream, 0, packet.len(), &allowed.packet)?;
        let (rewritten, behind) = (allowed.packet.len(), size.saturating_sub(packet.len()));
        let opened_at = timer::now();
        let term = self.term(&allowed, opened_at);
        let replicates = allowed.replicates;
        let mut account = Account::open(allowed, opened_at);
        account.received(packet.len());
        self.grant = Some(Grant { packet, replicates, term, account, lingers: false });
        self.follow_client(rewritten, behind)?;
        self.phase = Phase::Authentication(BackendMessages::default());
        self.pass_to_postgres()
    }

    fn refuse(
        &mut self,
        sqlstate: &str,
        reason: &'static str,
        message: &str,
        hint: &str,
    ) -> Result<(), HostError> {
        self.deny(Denied::refused(sqlstate, reason, (message, hint), &self.name))
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
            self.phase = Phase::close_soon();
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
}
