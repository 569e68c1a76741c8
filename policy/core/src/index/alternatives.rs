//! The alternatives of all rules: three patterns each, and the rules that have them.

use super::table::{Hash, Table};

/// The numbers of three patterns.
pub(super) type Key = [u32; 3];

/// Rules by their alternatives. Rules of one key stand in the order of their numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Alternatives {
    /// Each key, and where its rules start.
    keys: Vec<(Key, u32)>,
    rules: Vec<u32>,
    table: Table,
}

impl Alternatives {
    pub(super) fn new(mut filed: Vec<(Key, u32)>) -> Self {
        filed.sort_unstable();
        filed.dedup();
        let mut all = Self { rules: Vec::with_capacity(filed.len()), ..Self::default() };
        for (key, rule) in filed {
            if all.keys.last().is_none_or(|(last, _)| *last != key) {
                let number = super::number(all.keys.len());
                all.keys.push((key, super::number(all.rules.len())));
                let keys = &all.keys;
                let hash_of = |i: u32| keys.get(i as usize).map_or(0, |(key, _)| hash(*key));
                all.table.insert(hash(key), number, hash_of);
            }
            all.rules.push(rule);
        }
        all
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rules that have these three patterns.
    pub(super) fn rules(&self, key: Key) -> &[u32] {
        let is_it = |i: u32| self.keys.get(i as usize).is_some_and(|(known, _)| *known == key);
        let found = self.table.find(hash(key), is_it).and_then(|i| {
            let start = self.keys.get(i as usize)?.1 as usize;
            let next = self.keys.get(i.saturating_add(1) as usize);
            let end = next.map_or(self.rules.len(), |(_, start)| *start as usize);
            self.rules.get(start..end)
        });
        found.unwrap_or_default()
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
