//! How much is done for an answer: policies that people write need little, and lists multiply.

use std::cell::Cell;

/// What may still be done for the questions about a whole policy.
///
/// Steps are counted, of about the time in which two patterns are compared: so the same policy gets the same answers
/// on every machine. Each question has some steps of its own, so that what stands before it can't leave it without an
/// answer, and may take more of what all share.
#[derive(Debug)]
pub(crate) struct Effort {
    shared: Cell<usize>,
    /// What the present questions may still take of what is shared.
    share: Cell<usize>,
    /// What the present questions have of their own.
    own: Cell<usize>,
}

/// For all questions about a policy, beside what each has of its own.
const SHARED: usize = 100_000_000;

/// Of that for the questions about one rule.
const MOST_OF_ONE: usize = 2_000_000;

/// For each question.
const OWN: usize = 500;

/// The questions took too many steps: nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GaveUp;

impl Effort {
    /// For the questions about one policy.
    pub(crate) const fn of_policy() -> Self {
        Self::shared(SHARED)
    }

    /// For those without whose answers a policy is refused: what is refused is told within a second.
    pub(crate) const fn of_faults() -> Self {
        Self::shared(SHARED / 2)
    }

    /// With so much that all questions share.
    pub(crate) const fn shared(steps: usize) -> Self {
        Self { shared: Cell::new(steps), share: Cell::new(0), own: Cell::new(0) }
    }

    /// Turns to so many questions about one rule.
    pub(crate) fn turn_to(&self, questions: usize) {
        self.own.set(questions.saturating_mul(OWN));
        self.share.set(self.shared.get().min(MOST_OF_ONE));
    }

    /// Whether something is left for the present questions. If not, whatever was found is worth nothing.
    pub(crate) fn check(&self) -> Result<(), GaveUp> {
        if self.left() == 0 { Err(GaveUp) } else { Ok(()) }
    }

    /// Takes steps, before they are done.
    pub(crate) fn spend(&self, steps: usize) -> Result<(), GaveUp> {
        let steps_left = self.left();
        let of_own = steps.min(self.own.get());
        let of_share = (steps - of_own).min(self.share.get());
        self.own.set(self.own.get() - of_own);
        self.share.set(self.share.get() - of_share);
        self.shared.set(self.shared.get() - of_share);
        if steps < steps_left { Ok(()) } else { Err(GaveUp) }
    }

    #[cfg(test)]
    pub(crate) const fn is_shared_out(&self) -> bool {
        self.shared.get() == 0
    }

    fn left(&self) -> usize {
        self.own.get().saturating_add(self.share.get())
    }
}

#[cfg(test)]
mod tests {
    use super::{Effort, GaveUp, MOST_OF_ONE, OWN, SHARED};

    #[test]
    fn each_question_has_steps_of_its_own_and_a_share_of_the_others() {
        let effort = Effort::of_policy();
        assert_eq!(effort.check(), Err(GaveUp));
        for _ in 0..SHARED / MOST_OF_ONE {
            effort.turn_to(1);
            assert_eq!(effort.spend(MOST_OF_ONE), Ok(()));
            assert_eq!((effort.spend(OWN), effort.check()), (Err(GaveUp), Err(GaveUp)));
        }
        effort.turn_to(2);
        assert_eq!(effort.spend(2 * OWN - 1), Ok(()));
        assert_eq!(effort.spend(1), Err(GaveUp));
        effort.turn_to(usize::MAX);
        assert_eq!((effort.spend(OWN), effort.check()), (Ok(()), Ok(())));
    }
}
