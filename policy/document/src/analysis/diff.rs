//! Which decisions two policies give differently.

use std::collections::HashMap;

use signet_policy::{Effect, HttpRule, IdPattern, Mode, PathPattern, PostgresRule};

use super::decider::{Decider, Neighbours, Rules, decider};
use crate::case::{Case, Verdict};
use crate::document::PolicyDocument;
use crate::read::Addressed;
use crate::space::{Effort, GaveUp, Point, Region, Rule, Search, Step};

/// One way in which decisions differ, with a case that shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// A request or connection that is decided differently.
    pub case: Case,
    /// How the old policy decides it.
    pub old: Outcome,
    /// How the new policy decides it.
    pub new: Outcome,
    /// The rule, of either policy, that differs.
    pub rule: String,
}

/// A decision, as far as it is compared: the name of the rule isn't.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Allow or deny.
    pub verdict: Verdict,
    /// The rule that decides.
    pub rule: Option<String>,
    /// The role that the API is told, or that a connection becomes.
    pub role: Option<String>,
    /// What else a connection to Postgres may do, in words; empty over HTTP.
    pub terms: String,
}

/// All that differs between the decisions of two policies.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    /// The ways in which decisions differ. None where the policies decide alike.
    pub changes: Vec<Change>,
    /// Settings of the whole policy that differ, in words.
    pub settings: Vec<String>,
    /// Rules about which the search took too many steps: nothing is known of these.
    pub unknown: Vec<String>,
}

impl Difference {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.settings.is_empty() && self.unknown.is_empty()
    }
}

/// The ways in which a decision can differ.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    NoLonger,
    Newly,
    Otherwise,
}

impl PolicyDocument {
    /// What `new` decides differently. Exact: each way of each rule that differs is searched in the
    /// whole space of requests and connections. Shadow rules decide nothing, so they don't count.
    pub fn difference(&self, new: &Self) -> Difference {
        let mut difference =
            Difference { settings: self.changed_settings(new), ..Difference::default() };
        let (old_rules, new_rules) = (Rules::of(self), Rules::of(new));
        let (old, new) = (Side::of(self, &old_rules), Side::of(new, &new_rules));
        for (side, other) in [(&old, &new), (&new, &old)] {
            for rule in side.rules.http.iter().chain(&side.rules.postgres) {
                if rule.mode == Mode::Shadow || other.has_same(side, rule) {
                    continue;
                }
                let effort = Effort::for_questions(1);
                for way in [Way::NoLonger, Way::Newly, Way::Otherwise] {
                    match find(&effort, &old, &new, rule, way) {
                        Ok(Some(change)) => difference.add(change),
                        Ok(None) => {}
                        Err(GaveUp) => difference.unknown.push(rule.name.to_owned()),
                    }
                }
            }
        }
        difference.unknown.dedup();
        difference
    }

    fn changed_settings(&self, new: &Self) -> Vec<String> {
        let pairs = [
            ("expiry_grace", self.expiry_grace(), new.expiry_grace()),
            ("session_grace", self.session_grace(), new.session_grace()),
        ];
        let changed = pairs.into_iter().filter(|(_, old, new)| old != new);
        changed.map(|(name, old, new)| format!("{name}: {old}s → {new}s")).collect()
    }
}

impl Difference {
    /// Adds a change, unless a rule of the other policy showed the same case.
    fn add(&mut self, change: Change) {
        let shown = |known: &Change| {
            known.case == change.case || (known.old == change.old && known.new == change.new)
        };
        if !self.changes.iter().any(shown) {
            self.changes.push(change);
        }
    }
}

/// One of the two policies.
struct Side<'d> {
    document: &'d PolicyDocument,
    rules: &'d Rules<'d>,
    neighbours: Neighbours<'d>,
    http: HashMap<Core<'d>, Vec<&'d HttpRule>>,
    postgres: HashMap<Core<'d>, Vec<&'d PostgresRule>>,
}

/// What tells most rules apart: destinations, callers, and paths or none.
type Core<'d> = (&'d [IdPattern], &'d [IdPattern], &'d [PathPattern]);

fn http_core(rule: &Addressed<HttpRule>) -> Core<'_> {
    (&rule.to, &rule.rule.from, rule.rule.paths.as_deref().unwrap_or_default())
}

fn postgres_core(rule: &Addressed<PostgresRule>) -> Core<'_> {
    (&rule.to, &rule.rule.from, &[])
}

impl<'d> Side<'d> {
    fn of(document: &'d PolicyDocument, rules: &'d Rules<'d>) -> Self {
        let mut http: HashMap<_, Vec<_>> = HashMap::new();
        for rule in document.http_rules() {
            http.entry(http_core(rule)).or_default().push(&rule.rule);
        }
        let mut postgres: HashMap<_, Vec<_>> = HashMap::new();
        for rule in document.postgres_rules() {
            postgres.entry(postgres_core(rule)).or_default().push(&rule.rule);
        }
        Self { document, rules, neighbours: Neighbours::of(rules), http, postgres }
    }

    /// Whether this policy has a rule that says the same as one of the other policy.
    fn has_same(&self, other: &Self, rule: &Rule<'_>) -> bool {
        if rule.databases.is_some() {
            let rule = &other.document.postgres_rules()[rule.index];
            let mut alike = self.postgres.get(&postgres_core(rule)).into_iter().flatten();
            return alike.any(|found| {
                let named = PostgresRule { name: rule.rule.name.clone(), ..(*found).clone() };
                named == rule.rule
            });
        }
        let rule = &other.document.http_rules()[rule.index];
        let mut alike = self.http.get(&http_core(rule)).into_iter().flatten();
        alike.any(|found| {
            let named = HttpRule { name: rule.rule.name.clone(), ..(*found).clone() };
            named == rule.rule
        })
    }

    fn outcome(&self, decider: &Decider<'_>) -> Outcome {
        let nothing =
            Outcome { verdict: Verdict::Deny, rule: None, role: None, terms: String::new() };
        match decider {
            Decider::Nobody => nothing,
            Decider::Denied(region) => {
                Outcome { rule: Some(region.rule.name.to_owned()), ..nothing }
            }
            Decider::Allowed(region) => {
                let (role, terms) = self.said(region.rule);
                Outcome {
                    verdict: Verdict::Allow,
                    rule: Some(region.rule.name.to_owned()),
                    role,
                    terms,
                }
            }
        }
    }

    /// The role and the terms that a rule gives.
    fn said(&self, rule: &Rule<'_>) -> (Option<String>, String) {
        if rule.databases.is_none() {
            let role = self.document.http_rules()[rule.index].rule.db_role.as_ref();
            return (role.map(ToString::to_string), String::new());
        }
        let rule = &self.document.postgres_rules()[rule.index].rule;
        let mut terms = Vec::new();
        let names = |list: &[String]| list.join(", ");
        if let Some(roles) = &rule.may_act_as {
            terms.push(format!(
                "may act as {}",
                names(&roles.iter().map(ToString::to_string).collect::<Vec<_>>())
            ));
        } else {
            terms.push("whatever user it names".to_owned());
        }
        if let Some(list) = &rule.client_parameters {
            terms.push(format!(
                "may set {}",
                names(&list.iter().map(ToString::to_string).collect::<Vec<_>>())
            ));
        }
        terms.extend(rule.settings.iter().map(|(name, value)| format!("{name}={value}")));
        terms.extend(rule.max_session.map(|seconds| format!("at most {seconds}s")));
        if rule.replication {
            terms.push("replication".to_owned());
        }
        if rule.on_svid_expiry == signet_policy::OnSvidExpiry::Keep {
            terms.push("outlives its SVID".to_owned());
        }
        (Some(rule.login_role.to_string()), terms.join("; "))
    }
}

/// A case within `rule` that the two policies decide differently in this way.
fn find<'d>(
    effort: &Effort,
    old: &'d Side<'d>,
    new: &'d Side<'d>,
    rule: &'d Rule<'d>,
    way: Way,
) -> Result<Option<Change>, GaveUp> {
    let before = old.neighbours.near(rule, false);
    let after = new.neighbours.near(rule, false);
    let outcomes = |point: &Point| {
        let (was, is) = (decider(&before, point), decider(&after, point));
        (old.outcome(&was), new.outcome(&is), was, is)
    };
    let found = Search::find_within(effort, &[Region::whole(rule)], |point| {
        let (a, b, was, is) = outcomes(point);
        let found = match (a.verdict, b.verdict) {
            (Verdict::Allow, Verdict::Allow) => {
                way == Way::Otherwise && (&a.role, &a.terms) != (&b.role, &b.terms)
            }
            (Verdict::Allow, _) => way == Way::NoLonger,
            (_, Verdict::Allow) => way == Way::Newly,
            _ => false,
        };
        if found {
            return Step::Found;
        }
        // Elsewhere in this box the two could differ only where one of these doesn't decide, or
        // where another rule, one that says something else, decides in its place.
        let outside = was.region().into_iter().chain(is.region()).collect();
        let inside = others(old, &before, &was).chain(others(new, &after, &is)).collect();
        Step::Split { outside, inside }
    })?;
    Ok(found.map(|point| {
        let (a, b, ..) = outcomes(&point);
        Change { case: point.case(), old: a, new: b, rule: rule.name.to_owned() }
    }))
}

/// Rules that may decide in the place of the one that does, and say something else.
fn others<'d>(
    side: &Side<'_>,
    near: &[&'d Rule<'d>],
    decider: &Decider<'_>,
) -> impl Iterator<Item = Region<'d>> {
    let decided = match decider {
        // Where a deny matches, nothing else counts.
        Decider::Denied(_) => None,
        Decider::Nobody => Some((usize::MAX, None)),
        Decider::Allowed(region) => Some((region.rule.index, Some(side.said(region.rule)))),
    };
    let others: Vec<Region<'d>> = near
        .iter()
        .filter(|rule| {
            let Some((index, said)) = &decided else { return false };
            match (rule.effect, said) {
                // Denied by nobody or by a deny is the same.
                (Effect::Deny, said) => said.is_some(),
                (Effect::Allow, said) => {
                    rule.index != *index
                        && said.as_ref().is_none_or(|said| *said != side.said(rule))
                }
            }
        })
        .map(|rule| Region::whole(rule))
        .collect();
    others.into_iter()
}
