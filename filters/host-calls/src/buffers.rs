//! Envoy's buffers.
#![allow(unsafe_code)]

use crate::{
    error::{HostError, check},
    memory::received,
    raw,
};

/// Which buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Buffer {
    /// Bytes of the client that the filter has not let through yet. Writable from `on_downstream_data`, and from `on_tick`
    /// while the filter has answered `Pause`.
    Downstream = 2,
    /// Bytes of the server. Writable from `on_upstream_data` only.
    Upstream = 3,
    /// The plugin's configuration; readable in `on_configure`.
    PluginConfiguration = 7,
}

/// Copies up to `size` bytes from `start` on.
pub fn read_buffer(buffer: Buffer, start: usize, size: usize) -> Result<Vec<u8>, HostError> {
    // SAFETY: `received` passes valid pointers.
    received(|data, data_size| unsafe {
        raw::proxy_get_buffer_bytes(buffer as u32, start, size, data, data_size)
    })
}

/// Puts `bytes` in place of `size` bytes from `start` on. `usize::MAX` means to the end.
pub fn write_buffer(
    buffer: Buffer,
    start: usize,
    size: usize,
    bytes: &[u8],
) -> Result<(), HostError> {
    // SAFETY: pointer and size are those of `bytes`.
    check(unsafe {
        raw::proxy_set_buffer_bytes(buffer as u32, start, size, bytes.as_ptr(), bytes.len())
    })
}
