//! One clause of a rule beside what a case has.

use std::fmt::{self, Display};

use serde::Serialize;

/// One clause of a rule beside what a case has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Clause {
    /// The rule's key.
    pub(crate) key: &'static str,
    /// What the rule asks for.
    pub(crate) wants: String,
    /// What the case has.
    pub(crate) found: String,
    #[serde(skip)]
    pub(crate) holds: bool,
    /// How far a rule that fails in this clause is from the case.
    #[serde(skip)]
    pub(crate) distance: usize,
}

impl Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, wants, found, holds, .. } = self;
        if *holds {
            write!(f, "{key}: {found} fits {wants}")
        } else {
            write!(f, "{key}: {found}, and the rule has {wants}")
        }
    }
}

/// The entries of a list, not too many of them.
pub(crate) fn listed<T: Display>(items: &[T]) -> String {
    const SHOWN: usize = 4;
    let mut words: Vec<String> = items.iter().take(SHOWN).map(T::to_string).collect();
    if items.len() > SHOWN {
        words.push(format!("{} more", items.len() - SHOWN));
    }
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}
