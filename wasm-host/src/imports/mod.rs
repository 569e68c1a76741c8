//! The host functions of proxy-wasm ABI 0.2.1 that the filters use, with the statuses that Envoy 1.40 answers.

mod environment;
mod headers;
mod memory;
mod metadata;
mod streams;

use wasmtime::{Caller, Linker, Result};

use crate::envoy::{Envoy, Stream};

const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
const BAD_ARGUMENT: u32 = 2;
const SERIALIZATION_FAILURE: u32 = 3;
const CAS_MISMATCH: u32 = 8;

type Guest<'a> = Caller<'a, Envoy>;

/// Gives a module its imports.
pub(crate) fn link(linker: &mut Linker<Envoy>) -> Result<()> {
    environment::link(linker)?;
    streams::link(linker)?;
    headers::link(linker)
}

/// Changes the stream that the call concerns, if it concerns one.
fn on_stream<T>(guest: &mut Guest<'_>, change: impl FnOnce(&mut Stream) -> T) -> u32 {
    guest.data_mut().stream().map_or(NOT_FOUND, |stream| {
        change(stream);
        OK
    })
}
