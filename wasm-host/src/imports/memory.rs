//! The filter's memory.

use wasmtime::{Error, Extern, Memory, Result};

use super::{Guest, OK};

fn memory(guest: &mut Guest<'_>) -> Result<Memory> {
    guest
        .get_export("memory")
        .and_then(Extern::into_memory)
        .ok_or_else(|| Error::msg("the module exports no memory"))
}

pub(super) fn read(guest: &mut Guest<'_>, pointer: u32, size: u32) -> Result<Vec<u8>> {
    let start = pointer as usize;
    let memory = memory(guest)?;
    let bytes = memory.data(&*guest).get(start..start + size as usize);
    bytes
        .map(<[u8]>::to_vec)
        .ok_or_else(|| Error::msg("the filter passed a pointer outside of its memory"))
}

pub(super) fn write(guest: &mut Guest<'_>, pointer: u32, bytes: &[u8]) -> Result<()> {
    let memory = memory(guest)?;
    memory.write(&mut *guest, pointer as usize, bytes)?;
    Ok(())
}

/// Hands bytes over: into memory that the filter allocates, with pointer and size where it wants them.
pub(super) fn give(guest: &mut Guest<'_>, bytes: &[u8], data: u32, size: u32) -> Result<u32> {
    let length = u32::try_from(bytes.len())?;
    let pointer = if bytes.is_empty() {
        0
    } else {
        let allocate = guest.get_export("proxy_on_memory_allocate").and_then(Extern::into_func);
        let allocate =
            allocate.ok_or_else(|| Error::msg("the module exports no proxy_on_memory_allocate"))?;
        let pointer = allocate.typed::<u32, u32>(&*guest)?.call(&mut *guest, length)?;
        write(guest, pointer, bytes)?;
        pointer
    };
    write(guest, data, &pointer.to_le_bytes())?;
    write(guest, size, &length.to_le_bytes())?;
    Ok(OK)
}
