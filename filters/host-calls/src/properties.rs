//! What Envoy knows about a stream, and what the filter adds to it.
#![allow(unsafe_code)]

use crate::{
    error::{HostError, check, optional},
    memory::received,
    raw,
};

/// Reads a property by its path, the parts joined by NUL, such as `"filter_state\0signet.peer"`.
pub fn property(path: &str) -> Result<Option<Vec<u8>>, HostError> {
    // SAFETY: pointer and size are those of `path`; `received` passes valid pointers.
    optional(received(|value, size| unsafe {
        raw::proxy_get_property(path.as_ptr(), path.len(), value, size)
    }))
}

/// Writes filter state under `wasm.KEY`, for access logs (`%FILTER_STATE(wasm.KEY:PLAIN)%`).
pub fn set_wasm_property(key: &str, value: &str) -> Result<(), HostError> {
    // SAFETY: pointers and sizes are those of `key` and `value`.
    check(unsafe { raw::proxy_set_property(key.as_ptr(), key.len(), value.as_ptr(), value.len()) })
}

/// Writes filter state under a key that Envoy itself reads, such as `envoy.tcp_proxy.cluster`. It lives as long as the
/// connection and cannot be written twice.
pub fn set_envoy_filter_state(key: &str, value: &str) -> Result<(), HostError> {
    const NAME: &str = "set_envoy_filter_state";
    // envoy.source.extensions.common.wasm.SetEnvoyFilterStateArguments { 1: path, 2: value }
    let mut arguments = Vec::with_capacity(key.len() + value.len() + 8);
    for (field, text) in [(0x0a, key), (0x12, value)] {
        arguments.push(field);
        write_varint(&mut arguments, text.len());
        arguments.extend(text.as_bytes());
    }
    received(|results, size| {
        // SAFETY: pointers and sizes are those of `NAME` and `arguments`; `received` passes valid pointers.
        unsafe {
            raw::proxy_call_foreign_function(
                NAME.as_ptr(),
                NAME.len(),
                arguments.as_ptr(),
                arguments.len(),
                results,
                size,
            )
        }
    })
    .map(drop)
}

fn write_varint(bytes: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).unwrap_or(0) | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap_or(0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_those_of_protobuf() {
        for (value, expected) in
            [(0, vec![0]), (127, vec![127]), (128, vec![0x80, 1]), (300, vec![0xac, 2])]
        {
            let mut bytes = Vec::new();
            write_varint(&mut bytes, value);
            assert_eq!(bytes, expected);
        }
    }
}
