//! Requests of the filter's own.
#![allow(unsafe_code)]

use crate::{
    error::{HostError, check},
    headers::serialize_pairs,
    raw,
};

/// Milliseconds that an answer may take.
const TIMEOUT: u32 = 5_000;

/// Sends a POST to a cluster, in the name of the context at hand; the answer goes nowhere. `BadArgument`: there is no
/// such cluster.
pub fn post(cluster: &str, path: &str, body: &[u8]) -> Result<(), HostError> {
    let headers = serialize_pairs(&[(":method", "POST"), (":path", path), (":authority", cluster)]);
    let trailers = serialize_pairs(&[]);
    let mut token = 0;
    // SAFETY: pointers and sizes are those of the slices at hand; the call writes one u32.
    check(unsafe {
        raw::proxy_http_call(
            cluster.as_ptr(),
            cluster.len(),
            headers.as_ptr(),
            headers.len(),
            body.as_ptr(),
            body.len(),
            trailers.as_ptr(),
            trailers.len(),
            TIMEOUT,
            &raw mut token,
        )
    })
}
