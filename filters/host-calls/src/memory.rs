//! Bytes that the host hands over: it asks the filter for memory, fills it, and passes pointer and size.
#![allow(unsafe_code)]

use crate::error::{HostError, check};

/// Gives the host room to write an answer into. Exported; Envoy calls it during a host call that returns bytes.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    Box::into_raw(Box::<[u8]>::new_uninit_slice(size)).cast()
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
    // SAFETY: the ABI says that a successful call leaves what `proxy_on_memory_allocate` gave for exactly this size, that
    // the host has filled it, and that it is ours now.
    let bytes = unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(data, size)) };
    Ok(bytes.into_vec())
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
