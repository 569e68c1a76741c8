//! Envoy's log.
#![allow(unsafe_code)]

use crate::raw;

/// How loud. Envoy shows `Warn` and above unless its component `wasm` is set to more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Level {
    /// What happens as it should.
    Info = 2,
    /// What somebody should know.
    Warn = 3,
    /// What somebody must mend.
    Error = 4,
}

/// Writes one line to Envoy's log. A log that cannot be written is no reason to do anything else, so nothing is returned.
pub fn log(level: Level, text: &str) {
    // SAFETY: pointer and size are those of `text`.
    unsafe { raw::proxy_log(level as u32, text.as_ptr(), text.len()) };
}
