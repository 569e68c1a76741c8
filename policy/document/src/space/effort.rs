//! How much is done for an answer: policies that people write need little, and lists multiply.

use std::cell::Cell;

/// What may still be done for some questions about one rule. The unit is a pattern that is tried beside others.
#[derive(Debug)]
pub(crate) struct Effort(Cell<usize>);

/// For all questions about one rule, unless they are very many.
const MOST: usize = 200_000;

/// For each of very many questions.
const LEAST: usize = 200;

/// What an alternative costs besides the patterns that are tried: several thousand are searched for a rule.
const OF_AN_ALTERNATIVE: usize = 20;

/// A search took too many steps: nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GaveUp;

impl Effort {
    /// For so many questions about one rule.
    pub(crate) fn for_questions(count: usize) -> Self {
        Self(Cell::new(count.saturating_mul(LEAST).max(MOST)))
    }

    /// Whether something is left.
    pub(super) fn check(&self) -> Result<(), GaveUp> {
        if self.0.get() == 0 { Err(GaveUp) } else { Ok(()) }
    }

    /// Tries a pattern.
    pub(super) fn spend(&self) -> Result<(), GaveUp> {
        self.take(1)
    }

    pub(super) fn spend_on_an_alternative(&self) -> Result<(), GaveUp> {
        self.take(OF_AN_ALTERNATIVE)
    }

    fn take(&self, cost: usize) -> Result<(), GaveUp> {
        self.check()?;
        self.0.set(self.0.get().saturating_sub(cost));
        Ok(())
    }
}
