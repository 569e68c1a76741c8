//! What a policy asks of one database server: its roles, who may become whom, and who may connect where.

use std::collections::{BTreeMap, BTreeSet};

use signet_policy::{PostgresRule, SpiffeId};
use signet_policy_document::{Addressed, PolicyDocument};

use crate::error::Error;

/// The names of the rules that ask for something.
pub(super) type Rules = BTreeSet<String>;

/// What the rules for one destination ask of the server behind it.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// The SPIFFE ID of the Envoy in front of the server.
    pub(super) workload: String,
    /// The roles that log in, by name.
    pub(super) roles: BTreeMap<String, Role>,
    /// Who may become whom by `SET ROLE`: by member, then by role.
    pub(super) memberships: BTreeMap<(String, String), Rules>,
    /// Who may connect to which database.
    pub(super) databases: BTreeMap<String, Visitors>,
    /// Who may connect to any database.
    pub(super) any_database: Visitors,
    /// What the policy says and the database can't keep, or does in its own way.
    pub(super) notes: Vec<String>,
}

/// A role that logs in.
#[derive(Debug, Default)]
pub(super) struct Role {
    /// The rules that name it.
    pub(super) rules: Rules,
    /// Whether each of them says `allow_privileged: true`: it may be more than an ordinary role.
    pub(super) privileged: bool,
    /// Whether it becomes others, and so has no rights of its own.
    pub(super) becomes_others: bool,
    /// Whether it speaks the replication protocol.
    pub(super) replicates: bool,
}

/// The roles that may connect, and the rules that say so.
#[derive(Debug, Default)]
pub(super) struct Visitors {
    pub(super) roles: BTreeSet<String>,
    pub(super) rules: Rules,
}

/// Whether Postgres has this role from the beginning: its bootstrap superuser, or one of `pg_*`.
pub(super) fn is_predefined(role: &str) -> bool {
    role == "postgres" || is_of_postgres(role)
}

/// Whether this is one of `pg_*`, which can't log in.
pub(super) fn is_of_postgres(role: &str) -> bool {
    role.starts_with("pg_")
}

/// The roles that a rule names, the login role first.
fn named(rule: &PostgresRule) -> impl Iterator<Item = &str> {
    let others = rule.may_act_as.iter().flatten();
    std::iter::once(&rule.login_role).chain(others).map(signet_policy::RoleName::as_str)
}

impl Wanted {
    /// What `document` asks of the server behind the Envoy `workload`.
    ///
    /// # Errors
    /// Where roles may become each other in a circle, which Postgres refuses.
    pub(super) fn of(document: &PolicyDocument, workload: &str) -> Result<Self, Error> {
        let id = SpiffeId::parse(workload)
            .map_err(|error| Error::Contradiction(format!("`{workload}`: {error}")))?;
        let here = |rule: &&Addressed<_>| rule.to.iter().any(|to| to.matches(id));
        let mut rules: Vec<_> = document.postgres_rules().iter().filter(here).collect();
        rules.sort_by_key(|addressed| &addressed.rule.name);
        let mut wanted = Self { workload: workload.to_owned(), ..Self::default() };
        for addressed in &rules {
            wanted.add(addressed);
        }
        if let Some(circle) = wanted.circle() {
            return Err(Error::Circle(circle));
        }
        for role in wanted.roles.values_mut() {
            role.replicates &= role.privileged;
        }
        for addressed in &rules {
            wanted.note_what_is_reached(&addressed.rule);
            wanted.note_what_is_not_meant(addressed, &rules);
        }
        wanted.notes.sort();
        Ok(wanted)
    }

    /// The roles that log in, without those that can't.
    pub(super) fn logins(&self) -> impl Iterator<Item = (&String, &Role)> {
        self.roles.iter().filter(|(name, _)| !is_of_postgres(name))
    }

    /// The roles that this policy makes: all but those of Postgres itself.
    pub(super) fn own(&self) -> impl Iterator<Item = (&String, &Role)> {
        self.roles.iter().filter(|(name, _)| !is_predefined(name))
    }

    /// Those who may replicate the whole server, which is no database.
    pub(super) fn replicating(&self) -> Visitors {
        let roles = &self.any_database.roles;
        let replicates = |role: &&String| self.roles.get(*role).is_some_and(|it| it.replicates);
        Visitors {
            roles: roles.iter().filter(replicates).cloned().collect(),
            rules: self.any_database.rules.clone(),
        }
    }

    fn add(&mut self, addressed: &Addressed<PostgresRule>) {
        let rule = &addressed.rule;
        let name = rule.name.to_string();
        let login = rule.login_role.as_str();
        for role in named(rule) {
            let first = || Role { privileged: true, ..Role::default() };
            let wanted = self.roles.entry(role.to_owned()).or_insert_with(first);
            wanted.rules.insert(name.clone());
            wanted.privileged &= addressed.allow_privileged;
            wanted.replicates |= rule.replication;
            if is_of_postgres(role) {
                self.notes.push(format!(
                    "rule {name} names `{role}`, which can't log in; it can only be become"
                ));
            }
            if role == login {
                continue;
            }
            let pair = (login.to_owned(), role.to_owned());
            self.memberships.entry(pair).or_default().insert(name.clone());
            self.roles.entry(login.to_owned()).or_default().becomes_others = true;
        }
        if rule.replication && !addressed.allow_privileged {
            self.notes.push(format!(
                "rule {name} lets clients replicate, which Postgres lets no ordinary role do: add `allow_privileged: true` to have REPLICATION written"
            ));
        }
        for database in &rule.databases {
            let visitors = match database.as_str() {
                "*" => &mut self.any_database,
                database => self.databases.entry(database.to_owned()).or_default(),
            };
            visitors.rules.insert(name.clone());
            visitors.roles.extend(named(rule).filter(|r| !is_of_postgres(r)).map(str::to_owned));
        }
    }

    /// Whom a role may become, directly.
    fn becomes<'a>(&'a self, role: &'a str) -> impl Iterator<Item = &'a str> {
        let pairs = self.memberships.keys().filter(move |(member, _)| member == role);
        pairs.map(|(_, role)| role.as_str())
    }

    /// Whom a role may become, through others as well.
    fn reached<'a>(&'a self, role: &'a str) -> BTreeSet<&'a str> {
        let mut reached = BTreeSet::new();
        let mut next: Vec<&str> = self.becomes(role).collect();
        while let Some(role) = next.pop() {
            if reached.insert(role) {
                next.extend(self.becomes(role));
            }
        }
        reached
    }

    /// Roles that may become each other.
    fn circle(&self) -> Option<Vec<String>> {
        let in_circle = |role: &&String| self.reached(role).contains(role.as_str());
        let circle: Vec<_> = self.roles.keys().filter(in_circle).cloned().collect();
        (!circle.is_empty()).then_some(circle)
    }

    /// A membership belongs to a role, not to the rule that asked for it.
    fn note_what_is_reached(&mut self, rule: &PostgresRule) {
        let allowed: BTreeSet<_> = named(rule).collect();
        let mut notes = Vec::new();
        for role in &allowed {
            for more in self.reached(role).difference(&allowed) {
                notes.push(format!(
                    "rule {} does not name `{more}`, but whoever it lets log in as `{role}` may become that too: other rules say so, and memberships belong to roles",
                    rule.name
                ));
            }
        }
        self.notes.extend(notes);
    }

    /// So do attributes: whoever one rule lets in as a privileged role would have that of another.
    fn note_what_is_not_meant(
        &mut self,
        addressed: &Addressed<PostgresRule>,
        rules: &[&Addressed<PostgresRule>],
    ) {
        if addressed.allow_privileged {
            return;
        }
        let roles: BTreeSet<_> = named(&addressed.rule).collect();
        for role in roles {
            let means = |other: &&&Addressed<PostgresRule>| {
                other.allow_privileged && named(&other.rule).any(|it| it == role)
            };
            if let Some(other) = rules.iter().find(means) {
                self.notes.push(format!(
                    "rule {} says `allow_privileged: true` and rule {} doesn't, which names `{role}` too: it is an ordinary role until each rule says so",
                    other.rule.name, addressed.rule.name
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(rules: &str) -> Result<Wanted, Error> {
        let text = format!("version: 1\ntrust_domain: example.org\npostgres:\n{rules}");
        let document = PolicyDocument::parse("policy.yaml", &text).unwrap();
        Wanted::of(&document, "spiffe://example.org/db")
    }

    #[test]
    fn rules_for_other_destinations_ask_for_nothing() {
        let other = "  - { name: a, from: [/x], to: [/other], databases: [d], login_role: r }\n";
        assert!(wanted(other).unwrap().roles.is_empty());
    }

    #[test]
    fn one_role_for_two_rules_reaches_what_either_says() {
        let found = wanted(
            "  - { name: a, from: [/x], to: [/db], databases: [d], login_role: app, may_act_as: [reader] }
  - { name: b, from: [/y], to: [/db], databases: [d], login_role: app, may_act_as: [writer] }
",
        )
        .unwrap();
        let [a, b] = found.notes.as_slice() else { panic!("{:?}", found.notes) };
        assert!(a.starts_with("rule a does not name `writer`"), "{a}");
        assert!(b.starts_with("rule b does not name `reader`"), "{b}");
    }

    #[test]
    fn a_role_is_privileged_where_each_of_its_rules_says_so() {
        let admin = "  - { name: a, from: [/x], to: [/db], databases: ['*'], login_role: dba, replication: true, allow_privileged: true }\n";
        let found = wanted(admin).unwrap();
        assert!(found.roles["dba"].privileged && found.roles["dba"].replicates);
        assert_eq!(found.notes, [""; 0]);
        let other = "  - { name: b, from: [/y], to: [/db], databases: [d], login_role: dba }\n";
        let found = wanted(&format!("{admin}{other}")).unwrap();
        assert!(!found.roles["dba"].privileged && !found.roles["dba"].replicates);
        assert_eq!(
            found.notes,
            [
                "rule a says `allow_privileged: true` and rule b doesn't, which names `dba` too: it is an ordinary role until each rule says so"
            ]
        );
    }

    #[test]
    fn circles_are_refused() {
        let error = wanted(
            "  - { name: a, from: [/x], to: [/db], databases: [d], login_role: one, may_act_as: [two] }
  - { name: b, from: [/y], to: [/db], databases: [d], login_role: two, may_act_as: [one] }
",
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "`one` and `two` may become each other in a circle, which Postgres refuses; give each rule a login_role that no other rule may act as"
        );
    }

    #[test]
    fn a_role_that_acts_as_itself_needs_no_membership() {
        let rule = "  - { name: a, from: [/x], to: [/db], databases: ['*'], login_role: r, may_act_as: [r] }\n";
        let found = wanted(rule).unwrap();
        assert!(found.memberships.is_empty() && !found.roles["r"].becomes_others);
        assert!(found.databases.is_empty() && found.any_database.roles.contains("r"));
    }
}
