//! Who may cancel what: a `CancelRequest` names no user, only a backend and its key.
//!
//! Shared data of the Envoy process holds identity and key under the backend's process id, so that a cancel is found on any
//! worker, and the table is bounded by the number of process ids. Another Envoy knows nothing of it and drops the cancel.

use host_calls::{HostError, read_shared_data, write_shared_data};

/// Notes whose backend this is, in place of whoever had its process id before.
pub(crate) fn remember(pid: u32, key: &[u8], spiffe_id: &str) -> Result<(), HostError> {
    write_shared_data(&name(pid), &entry(key, spiffe_id))
}

/// Is this the backend's key, and the one who cancels the one whose session it is?
pub(crate) fn permits(pid: u32, key: &[u8], spiffe_id: &str) -> Result<bool, HostError> {
    Ok(read_shared_data(&name(pid))?.is_some_and(|known| known == entry(key, spiffe_id)))
}

/// Empties the entry of a session that has ended, unless a newer backend has the process id already.
pub(crate) fn forget(pid: u32, key: &[u8], spiffe_id: &str) -> Result<(), HostError> {
    if permits(pid, key, spiffe_id)? { write_shared_data(&name(pid), b"") } else { Ok(()) }
}

fn name(pid: u32) -> String {
    format!("signet.backend.{pid}")
}

/// A SPIFFE ID has no NUL, so key and identity cannot be mistaken for each other.
fn entry(key: &[u8], spiffe_id: &str) -> Vec<u8> {
    [spiffe_id.as_bytes(), b"\0", key].concat()
}
