//! The index of Postgres rules.

use std::ops::ControlFlow;

use super::{ANY, Alternatives, Trie, is_wide, number};
use crate::identity::SpiffeId;
use crate::pattern::Part;
use crate::slice::PostgresRule;

/// Postgres rules and their index.
#[derive(Clone, Debug, Default)]
pub(crate) struct PostgresRules {
    /// By name: of two with the same caller and database the first decides.
    rules: Vec<PostgresRule>,
    callers: Trie,
    databases: Trie,
    /// By caller and database.
    alternatives: Alternatives,
    /// The wide rules, by caller alone.
    wide: Alternatives,
}

impl PostgresRules {
    #[inline]
    pub(crate) fn new(mut rules: Vec<PostgresRule>) -> Self {
        rules.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let mut callers = Trie::new(false);
        let mut databases = Trie::new(false);
        let mut filed = Vec::with_capacity(rules.len());
        let mut wide = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            let from = rule.from.iter().map(|pattern| callers.insert(pattern.parts()));
            if is_wide([rule.from.len(), rule.databases.len(), 1]) {
                wide.extend(from.map(|caller| ([caller, ANY, ANY], number(index))));
                continue;
            }
            let its_databases: Vec<u32> = rule
                .databases
                .iter()
                .map(|name| match name.as_str() {
                    _ if name.is_any() => ANY,
                    name => databases.insert(std::iter::once(Part::Literal(name))),
                })
                .collect();
            for caller in from {
                let one = |&database: &u32| ([caller, database, ANY], number(index));
                filed.extend(its_databases.iter().map(one));
            }
        }
        Self {
            rules,
            callers,
            databases,
            alternatives: Alternatives::new(filed),
            wide: Alternatives::new(wide),
        }
    }

    /// The rule of a number.
    pub(crate) fn rule(&self, number: u32) -> Option<&PostgresRule> {
        self.rules.get(number as usize)
    }

    /// Whether any rule names the caller.
    pub(crate) fn names(&self, id: SpiffeId<'_>) -> bool {
        self.callers.each_match(id.segments(), &mut |_| ControlFlow::Break(())).is_break()
    }

    /// The rule, of those that aren't wide, that decides: by the caller's weight, then an exact database over any.
    pub(crate) fn heaviest(&self, id: SpiffeId<'_>, database: &[u8]) -> Option<u32> {
        let exact = self.databases.each_match(std::iter::once(database), &mut ControlFlow::Break);
        let found = self.callers.each_match(id.segments(), &mut |caller| {
            let first = |database| self.alternatives.rules([caller, database, ANY]).first();
            let found = exact.break_value().and_then(first).or_else(|| first(ANY));
            found.map_or(ControlFlow::Continue(()), |rule| ControlFlow::Break(*rule))
        });
        found.break_value()
    }

    /// Tells the wide rules that name the caller.
    pub(crate) fn each_wide(&self, id: SpiffeId<'_>, mut tell: impl FnMut(u32)) {
        if self.wide.is_empty() {
            return;
        }
        let _ = self.callers.each_match(id.segments(), &mut |caller| {
            self.wide.rules([caller, ANY, ANY]).iter().copied().for_each(&mut tell);
            ControlFlow::<()>::Continue(())
        });
    }
}
