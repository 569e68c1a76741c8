//! Header maps, as bytes: a value need not be UTF-8.
#![allow(unsafe_code)]

use crate::{
    error::{HostError, check},
    memory::received,
    raw,
};

/// Which header map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum HeaderMap {
    /// With `:method`, `:path` and the other pseudo-headers.
    Request = 0,
    /// What follows the request's body.
    RequestTrailers = 1,
}

/// All headers of a map in one piece of memory, as Envoy wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderPairs(Vec<u8>);

/// All headers of a map. One call for all costs less than two calls for one.
pub fn header_pairs(map: HeaderMap) -> Result<HeaderPairs, HostError> {
    // SAFETY: `received` passes valid pointers.
    received(|data, size| unsafe { raw::proxy_get_header_map_pairs(map as u32, data, size) })
        .map(HeaderPairs)
}

/// Adds a header beside those that have this name already.
///
/// Where there are none it costs less than half of replacing, which looks for them once more.
pub fn add_header(map: HeaderMap, name: &str, value: &[u8]) -> Result<(), HostError> {
    // SAFETY: pointers and sizes are those of `name` and `value`.
    check(unsafe {
        raw::proxy_add_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    })
}

/// Removes all headers of this name.
pub fn remove_header(map: HeaderMap, name: &[u8]) -> Result<(), HostError> {
    // SAFETY: pointer and size are those of `name`.
    check(unsafe { raw::proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) })
}

impl HeaderPairs {
    /// Whether the memory is exactly as the ABI says, to the last byte.
    pub fn is_whole(&self) -> bool {
        let size = |(name, value): (&[u8], &[u8])| name.len() + value.len() + 10;
        let count = number(&self.0, 0);
        count == Some(self.iter().count())
            && self.0.len() == 4 + self.iter().map(size).sum::<usize>()
    }

    /// All of them as a list. Its memory is asked for once.
    pub fn to_vec(&self) -> Vec<(&[u8], &[u8])> {
        let most = self.0.len() / 10;
        let mut list = Vec::with_capacity(number(&self.0, 0).unwrap_or(0).min(most));
        list.extend(self.iter());
        list
    }

    /// Name and value of each header, in order. Memory that is not as the ABI says ends it early.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let count = number(&self.0, 0).unwrap_or(0);
        let mut start = count.saturating_mul(8).saturating_add(4);
        (0..count).map_while(move |index| {
            let sizes = 4 + 8 * index;
            let name_end = start.checked_add(number(&self.0, sizes)?)?;
            let name = self.0.get(start..name_end)?;
            let value_start = name_end.checked_add(1)?;
            let value_end = value_start.checked_add(number(&self.0, sizes + 4)?)?;
            let value = self.0.get(value_start..value_end)?;
            start = value_end.checked_add(1)?;
            Some((name, value))
        })
    }
}

impl From<Vec<u8>> for HeaderPairs {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<HeaderPairs> for Vec<u8> {
    fn from(pairs: HeaderPairs) -> Self {
        pairs.0
    }
}

fn number(bytes: &[u8], start: usize) -> Option<usize> {
    let number = bytes.get(start..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*number)).ok()
}

/// Writes pairs in the form of the ABI.
pub(crate) fn serialize_pairs(pairs: &[(&str, &str)]) -> Vec<u8> {
    let size = |text: &str| u32::try_from(text.len()).unwrap_or(0).to_le_bytes();
    let mut bytes = Vec::new();
    bytes.extend(u32::try_from(pairs.len()).unwrap_or(0).to_le_bytes());
    for (name, value) in pairs {
        bytes.extend(size(name));
        bytes.extend(size(value));
    }
    for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
        bytes.extend(text.as_bytes());
        bytes.push(0);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_as_they_are_written() {
        let pairs = [(":path", "/x"), ("empty", ""), (":path", "/y")];
        let read = HeaderPairs(serialize_pairs(&pairs));
        let expected: Vec<_> =
            pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        assert_eq!(read.iter().collect::<Vec<_>>(), expected);
        assert!(read.is_whole());
        assert_eq!(read.to_vec(), expected);
    }

    #[test]
    fn memory_that_is_cut_short_ends_the_list() {
        let whole = serialize_pairs(&[("a", "b"), ("c", "d")]);
        for size in 0..whole.len() {
            let cut = HeaderPairs(whole[..size].to_vec());
            assert!(cut.iter().count() <= 2 && !cut.is_whole());
        }
        assert_eq!(HeaderPairs(vec![255; 64]).iter().count(), 0);
    }
}
