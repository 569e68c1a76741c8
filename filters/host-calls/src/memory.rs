//! Bytes that the host hands over: it asks the filter for memory, fills it, and passes pointer and size.
#![allow(unsafe_code)]

use std::cell::Cell;

use crate::error::{HostError, check};

/// Memory that is larger is not kept for the next answer. Unit: bytes.
const LARGEST_KEPT: usize = 64 * 1024;

thread_local! {
    /// What the host is writing an answer into.
    static HANDED_OUT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    /// What [`reuse`] was given: as many as a request of the HTTP filter needs.
    static SPARE: [Cell<Vec<u8>>; 2] = const { [Cell::new(Vec::new()), Cell::new(Vec::new())] };
}

/// Gives the host room to write an answer into. Exported; Envoy calls it during a host call that returns bytes.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    let mut room = Vec::new();
    SPARE.with(|spares| {
        for spare in spares {
            room = spare.take();
            if room.capacity() > 0 {
                break;
            }
        }
    });
    room.reserve(size);
    let data = room.as_mut_ptr();
    HANDED_OUT.set(room);
    data
}

/// Keeps the memory of an answer for a later one: asking for memory costs more than most of what is done with it.
pub fn reuse(mut bytes: Vec<u8>) {
    if bytes.capacity() > LARGEST_KEPT {
        return;
    }
    bytes.clear();
    SPARE.with(|spares| {
        for spare in spares {
            bytes = spare.replace(std::mem::take(&mut bytes));
            if bytes.capacity() == 0 {
                break;
            }
        }
    });
}

/// Runs a host call that returns bytes and takes ownership of them.
pub(crate) fn received(
    call: impl FnOnce(*mut *mut u8, *mut usize) -> u32,
) -> Result<Vec<u8>, HostError> {
    let mut data: *mut u8 = std::ptr::null_mut();
    let mut size = 0;
    check(call(&raw mut data, &raw mut size))?;
    if data.is_null() || size == 0 {
        return Ok(Vec::new());
    }
    let mut bytes = HANDED_OUT.take();
    if bytes.as_mut_ptr() != data || bytes.capacity() < size {
        // The host has used other memory than what it asked for last. None does.
        return Err(HostError::BadArgument);
    }
    // SAFETY: there is room for so many bytes, and the ABI says that a successful call has filled them.
    unsafe { bytes.set_len(size) };
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_the_host_are_owned_and_an_empty_answer_is_no_pointer() {
        let filled = received(|data, size| {
            // SAFETY: both point to variables of `received`, and the memory has the three bytes that are written.
            unsafe {
                *data = proxy_on_memory_allocate(3);
                std::ptr::copy_nonoverlapping(b"abc".as_ptr(), *data, 3);
                *size = 3;
            }
            0
        });
        assert_eq!(filled, Ok(b"abc".to_vec()));
        assert_eq!(received(|_, _| 0), Ok(Vec::new()));
        assert_eq!(received(|_, _| 1), Err(HostError::NotFound));
    }
}
