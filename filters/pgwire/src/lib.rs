//! The start-up phase of the Postgres protocol, and how a session is followed to its end, as pure functions on bytes.
//!
//! Everything here is total: any input gives a value or a [`PacketError`], never a panic. Nothing here decides; the filter
//! does. The source of the rules is the PostgreSQL manual, "Message Flow" and "Message Formats", and
//! `ProcessStartupPacket` and `process_postgres_switches` in PostgreSQL 15 to 18.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod backend;
mod cancelled;
mod client;
mod error_response;
mod options;
mod packet;
mod startup;

pub use backend::{
    BackendMessage, BackendMessages, READY_SIZE, ends_in_ready, is_protocol_violation,
};
pub use cancelled::CancelledQuery;
pub use client::{ClientFrames, FILLER};
pub use error_response::ErrorResponse;
pub use options::{OptionsError, Setting, parse_options};
pub use packet::{
    CancelRequest, FINISH, Frame, GSSENC_REQUEST, MAX_STARTUP_PACKET, Packet, PacketError,
    ProtocolVersion, SSL_REQUEST, TERMINATE, cancel_request, read_packet, version_probe,
};
pub use startup::{Parameter, StartupMessage, StartupTooLong, encode_startup};
