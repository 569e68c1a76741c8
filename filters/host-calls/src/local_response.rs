//! Answering a request without an upstream.
#![allow(unsafe_code)]

use crate::{
    error::{HostError, check},
    headers::serialize_pairs,
    raw,
};

/// An answer of the filter's own. To a gRPC request Envoy gives status 200 with `grpc-status` and the body as message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalResponse<'a> {
    /// HTTP status.
    pub status: u32,
    /// What `%RESPONSE_CODE_DETAILS%` prints; no white space.
    pub details: &'a str,
    /// The body.
    pub body: &'a str,
    /// Headers besides those that Envoy sets.
    pub headers: &'a [(&'a str, &'a str)],
    /// For a gRPC request; none lets Envoy derive it from the HTTP status.
    pub grpc_status: Option<u8>,
}

/// Ends the request with this answer. The filter must answer `Action::Pause` afterwards.
pub fn send_local_response(response: &LocalResponse<'_>) -> Result<(), HostError> {
    let headers = serialize_pairs(response.headers);
    let LocalResponse { status, details, body, grpc_status, .. } = *response;
    // SAFETY: pointers and sizes are those of the slices at hand.
    check(unsafe {
        raw::proxy_send_local_response(
            status,
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            grpc_status.map_or(-1, i32::from),
        )
    })
}
