//! Header maps, as bytes: a value need not be UTF-8.
#![allow(unsafe_code)]

use std::cell::Cell;

use crate::{
    error::{HostError, check},
    memory::received,
    raw,
};

/// A list with room for more is not kept for the next request.
const LONGEST_KEPT: usize = 1024;

/// Which header map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum HeaderMap {
    /// With `:method`, `:path` and the other pseudo-headers.
    Request = 0,
    /// What follows the request's body.
    RequestTrailers = 1,
}

thread_local! {
    static SPARE_LIST: Cell<Vec<(&'static [u8], &'static [u8])>> = const { Cell::new(Vec::new()) };
}

/// Keeps the memory of a list for the next one, as [`reuse`](crate::reuse) does that of an answer.
pub fn reuse_list(list: Vec<(&[u8], &[u8])>) {
    if list.capacity() <= LONGEST_KEPT {
        SPARE_LIST.set(emptied(list));
    }
}

/// The memory of a list, for a list of something else.
fn emptied<'a>(mut list: Vec<(&[u8], &[u8])>) -> Vec<(&'a [u8], &'a [u8])> {
    list.clear();
    // Of no element; the standard library collects in place.
    list.into_iter().map(|_| Default::default()).collect()
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

    /// All of them as a list. Its memory is what [`reuse_list`] was given, or asked for once.
    pub fn to_vec(&self) -> Vec<(&[u8], &[u8])> {
        let pairs = self.pairs();
        let mut list = emptied(SPARE_LIST.take());
        list.reserve(pairs.sizes.len());
        list.extend(pairs);
        list
    }

    /// Name and value of each header, in order. Memory that is not as the ABI says ends it early.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.pairs()
    }

    fn pairs(&self) -> Pairs<'_> {
        let count = number(&self.0, 0).unwrap_or(0);
        let after = self.0.get(4..).unwrap_or_default();
        let split = count.checked_mul(8).and_then(|size| after.split_at_checked(size));
        let (sizes, texts) = split.unwrap_or_default();
        Pairs { sizes: sizes.as_chunks().0.as_chunks().0, texts }
    }
}

/// What is left of header pairs.
#[derive(Clone, Debug)]
struct Pairs<'a> {
    /// Of each name and its value, little-endian.
    sizes: &'a [[[u8; 4]; 2]],
    /// Each with a NUL behind.
    texts: &'a [u8],
}

impl<'a> Pairs<'a> {
    /// The next text, of so many bytes.
    #[inline]
    fn text(&mut self, size: [u8; 4]) -> Option<&'a [u8]> {
        let size = u32::from_le_bytes(size) as usize;
        let text = self.texts.get(..size)?;
        self.texts = self.texts.get(size.checked_add(1)?..)?;
        Some(text)
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let ([name, value], rest) = self.sizes.split_first()?;
        self.sizes = rest;
        Some((self.text(*name)?, self.text(*value)?))
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
