//! What rules mean together: ties, which are faults, and what can't be meant, which are warnings.

mod claims;
mod decider;
mod diff;
mod nearby;
mod reach;
mod roles;
mod ties;
mod who;

pub use diff::{Change, Difference, Outcome};
pub use who::{Access, TooMany};

pub(crate) use claims::too_many_claims;
pub(crate) use ties::{http_ties, postgres_ties};

use crate::case::{Case, Expectation, Verdict};
use crate::document::PolicyDocument;
use crate::fault::Fault;
use crate::space::Point;
use decider::{Neighbours, Rules};

/// What can't be meant, though it can be read.
#[derive(Clone, Debug)]
pub struct Warning {
    /// What is found, where, and a likely repair.
    pub fault: Fault,
    /// Requests and connections that show it together, where they can.
    pub witnesses: Vec<Witness>,
}

/// A request or connection that shows a warning.
#[derive(Clone, Debug)]
pub struct Witness {
    /// The case, with the decision that shows it.
    pub case: Case,
    /// Whether it shows only with the shadow rules enforced: see
    /// [`PolicyDocument::with_shadow_enforced`].
    pub shadow: bool,
}

impl Witness {
    /// A point that is decided so.
    fn new(point: &Point, verdict: Verdict, rule: Option<&str>, shadow: bool) -> Self {
        let expect = Expectation { verdict, rule: Some(rule.map(str::to_owned)), role: None };
        Self { case: Case { expect: Some(expect), ..point.case() }, shadow }
    }
}

impl PolicyDocument {
    /// What can't be meant, in the order of the documents. Found by exact reasoning: a warning that
    /// isn't here doesn't hold, unless the search for it took too many steps, and of those that are
    /// here each has its witness where a request can show it.
    pub fn warnings(&self) -> Vec<Warning> {
        let rules = Rules::of(self);
        let neighbours = Neighbours::of(&rules);
        let mut warnings = reach::unreachable(self, &rules, &neighbours);
        warnings.extend(reach::wide(self, &rules, &neighbours));
        warnings.extend(roles::unusable(self, &rules, &neighbours));
        warnings.extend(self.unused_workloads().iter().map(|(name, place)| Warning {
            fault: Fault::at_place(
                place,
                format!("workload `{name}` is never used"),
                "no rule and no test names it",
                "remove it, or name it in a rule",
            ),
            witnesses: Vec::new(),
        }));
        warnings.sort_by_key(|warning| (warning.fault.file, warning.fault.at.0.start));
        warnings
    }
}
