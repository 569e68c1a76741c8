//! What Postgres says before the session runs.

use host_calls::{Buffer, HostError, Level, read_buffer, set_wasm_property, write_buffer};
use pgwire::BackendMessage;

use super::{ALL, Phase, Session, audit};
use crate::cancel_keys;

impl Session {
    /// Postgres answers a request for encryption by one byte; on a Unix socket it is always `N`.
    pub(super) fn on_encryption_answer(&mut self, size: usize) -> Result<(), HostError> {
        match read_buffer(Buffer::Upstream, 0, size)?.as_slice() {
            b"N" => {
                self.phase = Phase::Startup;
                Ok(())
            }
            b"" => Ok(()),
            // Encryption between client and server would hide the start-up from us.
            _ => {
                write_buffer(Buffer::Upstream, 0, ALL, &[])?;
                self.hang_up(
                    "encryption_answer",
                    "Postgres did not answer `N` to a request for encryption",
                )
            }
        }
    }

    pub(super) fn on_backend_message(&mut self, message: BackendMessage) -> Result<(), HostError> {
        match message {
            BackendMessage::KeyData { pid, key } => {
                if let Ok(peer) = self.peer() {
                    cancel_keys::remember(pid, &key, peer.id.as_str())?;
                }
                set_wasm_property("signet.backend", &pid.to_string())?;
                if let Some(grant) = &mut self.grant {
                    let begins = grant.account.begins(pid, key);
                    self.log(Level::Info, &begins);
                }
            }
            BackendMessage::Error { sqlstate } => {
                self.configuration.metrics.refused_by_postgres.increment();
                self.ended(audit::REFUSED_BY_POSTGRES)?;
                self.log(
                    Level::Warn,
                    &format!("Postgres refused the start-up: SQLSTATE {sqlstate}"),
                );
            }
            // An answer that is not protocol 3 is for the client to understand.
            BackendMessage::Ready | BackendMessage::Foreign => self.phase = Phase::Relay,
        }
        Ok(())
    }
}
