//! A table that all VMs with one `vm_id` in one Envoy process share. A key cannot be removed, only emptied.
#![allow(unsafe_code)]

use crate::{
    error::{HostError, check, optional},
    memory::received,
    raw,
};

/// Reads a value; `None` where the key was never written.
pub fn read_shared_data(key: &str) -> Result<Option<Vec<u8>>, HostError> {
    Ok(read_versioned_shared_data(key)?.map(|(value, _)| value))
}

/// Reads a value and its version, for [`replace_shared_data`].
pub fn read_versioned_shared_data(key: &str) -> Result<Option<(Vec<u8>, u32)>, HostError> {
    let mut version = 0;
    let value = optional(received(|value, size| {
        // SAFETY: pointer and size are those of `key`; the others are valid for the call.
        unsafe {
            raw::proxy_get_shared_data(key.as_ptr(), key.len(), value, size, &raw mut version)
        }
    }))?;
    Ok(value.map(|value| (value, version)))
}

/// Writes a value, whatever was there before.
pub fn write_shared_data(key: &str, value: &[u8]) -> Result<(), HostError> {
    replace_shared_data(key, value, 0)
}

/// Writes a value unless it has another version by now: `CasMismatch`. Version 0 stands for any.
pub fn replace_shared_data(key: &str, value: &[u8], version: u32) -> Result<(), HostError> {
    // SAFETY: pointers and sizes are those of `key` and `value`.
    check(unsafe {
        raw::proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), version)
    })
}
