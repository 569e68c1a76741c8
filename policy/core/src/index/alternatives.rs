//! The alternatives of all rules: three patterns each, and the rules that have them.

use super::table::{Hash, Table};

/// The numbers of three patterns.
pub(super) type Key = [u32; 3];

/// Rules by their alternatives. Rules of one key stand in the order of their numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Alternatives {
    keys: Vec<Entry>,
    /// The rules of keys that have several, one key's after the other's.
    several: Vec<u32>,
    table: Table,
}

/// A key and its rules. Most keys have one, which stands here.
#[derive(Clone, Copy, Debug)]
struct Entry {
    key: Key,
    /// The rule, or where in `several` the rules start.
    first: u32,
    /// How many rules there are.
    count: u32,
}

impl Alternatives {
    #[inline]
    pub(super) fn new(mut filed: Vec<(Key, u32)>) -> Self {
        filed.sort_unstable();
        filed.dedup();
        let mut all = Self::default();
        for group in filed.chunk_by(|(a, _), (b, _)| a == b) {
            let Some(&(key, only)) = group.first() else { continue };
            let mut first = only;
            if group.len() > 1 {
                first = super::number(all.several.len());
                all.several.extend(group.iter().map(|(_, rule)| *rule));
            }
            all.table.insert(hash(key), super::number(all.keys.len()));
            all.keys.push(Entry { key, first, count: super::number(group.len()) });
        }
        all
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The rules that have these three patterns.
    pub(super) fn rules(&self, key: Key) -> &[u32] {
        let entry = |i: u32| self.keys.get(i as usize);
        let found = self.table.find(hash(key), |i| entry(i).is_some_and(|entry| entry.key == key));
        match found.and_then(entry) {
            None => &[],
            Some(Entry { first, count: 1, .. }) => std::slice::from_ref(first),
            Some(Entry { first, count, .. }) => {
                let start = *first as usize;
                self.several.get(start..start.saturating_add(*count as usize)).unwrap_or_default()
            }
        }
    }
}

fn hash(key: Key) -> u32 {
    key.into_iter().fold(Hash::new(), Hash::number).finish()
}

#[cfg(test)]
mod tests {
    use super::Alternatives;

    #[test]
    fn rules_of_one_key_stand_in_order() {
        let filed = vec![([1, 2, 3], 9), ([3, 2, 1], 4), ([1, 2, 3], 5), ([1, 2, 3], 9)];
        let all = Alternatives::new(filed);
        assert_eq!(all.rules([1, 2, 3]), [5, 9]);
        assert_eq!(all.rules([3, 2, 1]), [4]);
        assert_eq!(all.rules([1, 2, 4]), [0; 0]);
        assert!(Alternatives::default().is_empty());
        assert_eq!(Alternatives::default().rules([0, 0, 0]), [0; 0]);
    }
}
