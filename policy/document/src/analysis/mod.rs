//! What rules mean together: ties, which are faults, and what can't be meant, which are warnings.

mod claims;
mod decider;
mod diff;
mod nearby;
mod pairs;
mod reach;
mod roles;
mod side;
mod ties;
mod who;

pub use diff::{Change, Difference, Outcome};
pub use who::{Access, TooMany};

pub(crate) use claims::too_many_claims;
pub(crate) use ties::{http_ties, postgres_ties};

use crate::case::{Case, Expectation, Verdict};
use crate::document::PolicyDocument;
use crate::fault::Fault;
use crate::space::{Effort, Point};
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
        self.warnings_within(&Effort::of_policy())
    }

    fn warnings_within(&self, effort: &Effort) -> Vec<Warning> {
        let rules = Rules::of(self);
        let neighbours = Neighbours::of(&rules);
        let mut warnings = reach::unreachable(self, effort, &rules, &neighbours);
        warnings.extend(reach::wide(self, effort, &rules, &neighbours));
        warnings.extend(roles::unusable(self, effort, &rules, &neighbours));
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

#[cfg(test)]
mod tests {
    use super::Effort;
    use crate::document::PolicyDocument;

    /// Rules of which none is searched to the end share one bound, whatever stands before and after them; one that is soon
    /// searched is known all the same.
    #[test]
    fn what_a_policy_costs_is_bounded_as_a_whole() {
        let many =
            |stem: &str| (0..100).map(|i| format!("{stem}{i}")).collect::<Vec<_>>().join(", ");
        let (paths, hosts) = (many("/p/"), many("h"));
        let hostile = |i: usize| {
            format!(
                "  - {{ name: h{i}, from: [/c], to: [/api], paths: [{paths}], hosts: [{hosts}], ports: [{}] }}\n",
                i + 1
            )
        };
        let idle = |name: &str| {
            format!(
                "  - {{ name: {name}, from: [/d], to: [/api] }}\n  - {{ name: {name}-not, effect: deny, from: [/d], to: [/api], methods: [GET] }}
  - {{ name: {name}-never, from: [/d], to: [/api], methods: [GET] }}\n"
            )
        };
        let hostile = (0..50).map(hostile).collect::<String>();
        let text = format!(
            "version: 1\ntrust_domain: a\nhttp:\n{}{hostile}  - {{ name: none, effect: deny, from: ['**'], to: [/api], paths: ['/p/**'] }}\n{}",
            idle("first"),
            idle("last").replace("/d", "/e")
        );
        let document = PolicyDocument::parse("p.yaml", &text).unwrap();
        let told = || {
            let effort = Effort::shared(100_000);
            let warnings = document.warnings_within(&effort).into_iter();
            (
                warnings.map(|warning| warning.fault.message).collect::<Vec<_>>(),
                effort.is_shared_out(),
            )
        };
        let (first, is_shared_out) = told();
        assert!(is_shared_out);
        let known: Vec<&String> =
            first.iter().filter(|message| !message.contains("isn't known")).collect();
        let never = |name: &str| {
            format!(
                "rule `{name}-never` never allows: all that it matches is denied by `{name}-not`"
            )
        };
        assert_eq!(known, [&never("first"), &never("last")]);
        assert_eq!(first.len(), 52);
        assert_eq!(
            first[1],
            "whether rule `h0` ever decides isn't known: it overlaps others in too many ways"
        );
        assert_eq!(told().0, first, "the same each time");
    }

    #[test]
    fn a_role_of_which_nothing_is_known_is_told() {
        let databases = (0..1000).map(|i| format!("d{i}")).collect::<Vec<_>>().join(", ");
        let text = format!(
            "version: 1\ntrust_domain: a\nhttp:\n  - {{ name: h, from: [/c], to: [/api], db_role: r }}
postgres:\n  - {{ name: p, from: [/api], to: [/db], databases: [{databases}], login_role: r }}\n"
        );
        let document = PolicyDocument::parse("p.yaml", &text).unwrap();
        assert!(document.warnings().is_empty());
        let warnings = document.warnings_within(&Effort::shared(0));
        let told: Vec<&str> =
            warnings.iter().map(|warning| warning.fault.message.as_str()).collect();
        assert_eq!(
            told,
            [
                "whether a postgres rule lets spiffe://a/api act as `r` isn't known: rules overlap in too many ways"
            ]
        );
    }
}
