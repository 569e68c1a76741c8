//! HTTP as bytes on the wire: requests that no client library would send, and a server that tells what reached it.

mod echo;
mod h1;
mod h2;
mod ingress;
mod relay;

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncWrite};

pub use echo::Seen;
pub use h1::Http1;
pub use h2::Http2;
pub use ingress::{Caller, Ingress, Protocol};
pub use relay::Tampering;

/// Headers in order, pseudo-headers first, as octets.
pub type Lines = Vec<(Vec<u8>, Vec<u8>)>;

/// What a caller got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The server behind Envoy answered, and saw this.
    Forwarded(Seen),
    /// Envoy answered, or a filter in it.
    Stopped {
        /// The status code.
        status: u16,
        /// Status of gRPC, where there is one.
        grpc_status: Option<String>,
        /// The body.
        body: String,
    },
    /// The stream or the connection was closed without an answer.
    Closed,
}

/// Any stream.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The answer that a response is.
fn answer(headers: &[(String, Vec<u8>)], status: u16, body: &[u8]) -> Result<Answer> {
    let value = |name: &str| {
        let found = headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    };
    match value(echo::SEEN) {
        Some(seen) => Ok(Answer::Forwarded(Seen::read(&seen)?)),
        None => Ok(Answer::Stopped {
            status,
            grpc_status: value("grpc-status"),
            body: String::from_utf8_lossy(body).into_owned(),
        }),
    }
}
