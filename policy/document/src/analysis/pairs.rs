//! Which rules may tie, without comparing each with each.

use std::collections::HashMap;
use std::hash::Hash;

use crate::space::{Effort, GaveUp};

/// Rules by keys, of which two that tie have one in common.
pub(super) struct Groups<K> {
    by_key: HashMap<K, Vec<usize>>,
    /// Rules whose keys would be too many.
    wide: Vec<usize>,
    all: Vec<usize>,
}

/// So few rules are compared sooner than fewer are looked for.
const FEW: usize = 64;

/// Rules that are collected in the time of a step.
const COLLECTED_IN_A_STEP: usize = 8;

impl<K: Eq + Hash> Groups<K> {
    pub(super) fn new() -> Self {
        Self { by_key: HashMap::new(), wide: Vec::new(), all: Vec::new() }
    }

    /// The rules before this one that may tie with it, in order; among them perhaps others. `fewer` finds them in another
    /// way, if these are fewer than so many.
    ///
    /// # Errors
    /// Where all effort was spent before they were found.
    pub(super) fn partners(
        &self,
        effort: &Effort,
        keys: Option<&[K]>,
        fewer: impl FnOnce(usize) -> Result<Option<Vec<usize>>, GaveUp>,
    ) -> Result<Vec<usize>, GaveUp> {
        let groups: Vec<&Vec<usize>> = match keys {
            None => vec![&self.all],
            Some(keys) => {
                keys.iter().filter_map(|key| self.by_key.get(key)).chain([&self.wide]).collect()
            }
        };
        let count = groups.iter().map(|group| group.len()).sum::<usize>();
        let other_way = if count > FEW { fewer(count)? } else { None };
        if let Some(found) = other_way {
            return Ok(found);
        }
        effort.spend(count / COLLECTED_IN_A_STEP)?;
        let mut partners: Vec<usize> = groups.into_iter().flatten().copied().collect();
        partners.sort_unstable();
        partners.dedup();
        Ok(partners)
    }

    /// Adds the next rule.
    pub(super) fn add(&mut self, index: usize, keys: Option<Vec<K>>) {
        self.all.push(index);
        match keys {
            None => self.wide.push(index),
            Some(keys) => {
                for key in keys {
                    self.by_key.entry(key).or_default().push(index);
                }
            }
        }
    }
}
