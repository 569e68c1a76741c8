//! Compares the roles of a server, and where they may connect, with what the policy asks.

use std::collections::BTreeSet;

use super::dialect::Dialect;
use super::finding::{Drift, Finding};
use super::found::{Found, FoundRole};
use super::quote::identifier;
use super::script::repaired_role;
use super::wanted::{Role, Rules, Wanted, is_predefined};

/// What is compared.
pub(super) struct Comparison<'a> {
    pub(super) wanted: &'a Wanted,
    pub(super) found: &'a Found,
    pub(super) dialect: &'a Dialect,
    /// Roles of the database's owner: whoever belongs to one, or is one, is no drift.
    pub(super) known: &'a BTreeSet<String>,
}

/// The names of rules, for people.
pub(super) fn listed(rules: &Rules) -> String {
    let rules: Vec<_> = rules.iter().map(String::as_str).collect();
    rules.join(", ")
}

pub(super) fn found(
    drift: Drift,
    thing: String,
    found: impl Into<String>,
    wanted: impl Into<String>,
    repair: String,
) -> Finding {
    Finding { drift, thing, found: found.into(), wanted: wanted.into(), repair }
}

impl Comparison<'_> {
    /// All differences of roles and grants.
    pub(super) fn of_catalogues(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (name, role) in self.wanted.logins() {
            match self.found.roles.get(name) {
                Some(has) => self.role(name, role, *has, &mut findings),
                None => findings.push(found(
                    Drift::Missing,
                    format!("role {}", identifier(name)),
                    "not there",
                    format!("a role that logs in, for {}", listed(&role.rules)),
                    repaired_role(name, role),
                )),
            }
        }
        self.memberships(&mut findings);
        self.databases(&mut findings);
        findings
    }

    fn role(&self, name: &str, role: &Role, has: FoundRole, findings: &mut Vec<Finding>) {
        let quoted = identifier(name);
        let thing = || format!("role {quoted}");
        let alter = |attribute: &str| format!("alter role {quoted} {attribute};");
        if !has.login {
            let wanted = format!("a role that logs in, for {}", listed(&role.rules));
            findings.push(found(
                Drift::Missing,
                thing(),
                "it can't log in",
                wanted,
                alter("login"),
            ));
        }
        if role.replicates && !has.replication && !has.superuser {
            let wanted = format!("replication, for {}", listed(&role.rules));
            findings.push(found(
                Drift::Missing,
                thing(),
                "it can't replicate",
                wanted,
                alter("replication"),
            ));
        }
        if role.becomes_others && has.inherit && !is_predefined(name) {
            findings.push(found(
                Drift::Privileged,
                thing(),
                "it inherits the rights of the roles that it may become",
                "rights only by becoming one of them",
                alter("noinherit"),
            ));
        }
        if !role.privileged {
            for (what, without) in has.excess() {
                let wanted = "an ordinary role, or `allow_privileged: true` in each of its rules";
                findings.push(found(Drift::Privileged, thing(), what, wanted, alter(without)));
            }
            for (_, database, count) in self.found.owned.iter().filter(|(owner, ..)| owner == name)
            {
                let (place, repair) = match database.as_str() {
                    "" => (
                        "of the whole server".to_owned(),
                        format!("reassign owned by {quoted} to current_user;"),
                    ),
                    database => (
                        format!("in database {}", identifier(database)),
                        format!(
                            "-- in database {}\nreassign owned by {quoted} to current_user;",
                            identifier(database)
                        ),
                    ),
                };
                let objects = if *count == 1 { "object" } else { "objects" };
                findings.push(found(
                    Drift::Privileged,
                    thing(),
                    format!(
                        "it owns {count} {objects} {place}, whose rights nobody can take from it"
                    ),
                    "objects owned by a role that no workload is",
                    repair,
                ));
            }
        }
        let has_password = self.found.passwords.as_ref().is_some_and(|roles| roles.contains(name));
        if has_password && !self.dialect.keep_passwords && !is_predefined(name) {
            findings.push(found(
                Drift::Superfluous,
                thing(),
                "it has a password",
                "none: its identity is enough",
                alter("password null"),
            ));
        }
    }

    fn databases(&self, findings: &mut Vec<Finding>) {
        let connect = |verb: &str, database: &str, role: &str| {
            let preposition = if verb == "grant" { "to" } else { "from" };
            format!(
                "{verb} connect on database {} {preposition} {};",
                identifier(database),
                identifier(role)
            )
        };
        for (database, visitors) in &self.wanted.databases {
            if !self.found.databases.contains(database) {
                findings.push(found(
                    Drift::Missing,
                    format!("database {}", identifier(database)),
                    "not there",
                    format!("a database, for {}", listed(&visitors.rules)),
                    format!("create database {};", identifier(database)),
                ));
            }
        }
        for ((role, database), (can, by_name)) in &self.found.connects {
            let named = self.wanted.databases.get(database).filter(|v| v.roles.contains(role));
            let any = Some(&self.wanted.any_database).filter(|v| v.roles.contains(role));
            let thing = format!("{} in database {}", identifier(role), identifier(database));
            match named.or(any) {
                Some(visitors) if !can => findings.push(found(
                    Drift::Missing,
                    thing,
                    "it can't connect",
                    format!("CONNECT, for {}", listed(&visitors.rules)),
                    connect("grant", database, role),
                )),
                None if *by_name && !is_predefined(role) => findings.push(found(
                    Drift::Superfluous,
                    thing,
                    "a grant of CONNECT",
                    "none: no rule lets it in there",
                    connect("revoke", database, role),
                )),
                _ => {}
            }
        }
    }
}
