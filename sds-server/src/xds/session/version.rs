//! One version for all that a peer holds.

use std::fmt;
use std::ops::Add;

use super::super::resource::Version;

/// The version of a set of resources, from their names and contents alone: the sum of the pairs'
/// hashes, so that the order does not matter and a change of one costs one hash.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct StateVersion(u128);

impl StateVersion {
    pub(super) fn insert(&mut self, name: &str, version: &Version) {
        self.0 = self.0.wrapping_add(pair(name, version));
    }

    pub(super) fn remove(&mut self, name: &str, version: &Version) {
        self.0 = self.0.wrapping_sub(pair(name, version));
    }
}

/// Of two sets that have nothing in common.
impl Add for StateVersion {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
}

fn pair(name: &str, version: &Version) -> u128 {
    u128::from_be_bytes(*Version::of([name.as_bytes(), version.as_bytes()]).as_bytes())
}

impl fmt::Display for StateVersion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::StateVersion;
    use crate::xds::resource::Version;

    #[test]
    fn it_is_of_the_set_and_not_of_its_history() {
        let (one, two) = (Version::of([b"1".as_slice()]), Version::of([b"2".as_slice()]));
        let (mut forth, mut back) = (StateVersion::default(), StateVersion::default());
        forth.insert("a", &one);
        forth.insert("b", &two);
        back.insert("b", &two);
        back.insert("a", &two);
        assert_ne!(forth, back);
        back.remove("a", &two);
        back.insert("a", &one);
        assert_eq!(forth.to_string(), back.to_string());
        assert_eq!(forth.to_string().len(), 32);
    }
}
