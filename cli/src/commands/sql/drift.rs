//! Compares the roles and grants of a server with what the policy asks.

use std::collections::BTreeSet;

use super::dialect::Dialect;
use super::finding::{Drift, Finding};
use super::found::{Found, FoundRole, Membership};
use super::quote::identifier;
use super::script::repaired_role;
use super::wanted::{Role, Rules, Wanted, is_of_postgres, is_predefined};

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

fn found(
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
        self.wanted_memberships(&mut findings);
        self.group(&mut findings);
        self.other_memberships(&mut findings);
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
            for (is, what, without) in [
                (has.superuser, "a superuser", "nosuperuser"),
                (has.createrole, "it may create roles", "nocreaterole"),
                (has.createdb, "it may create databases", "nocreatedb"),
                (has.replication, "it may replicate, which reads everything", "noreplication"),
                (has.bypassrls, "it bypasses row level security", "nobypassrls"),
            ] {
                if is {
                    let wanted = "an ordinary role, or `allow_privileged: true` in its rules";
                    findings.push(found(Drift::Privileged, thing(), what, wanted, alter(without)));
                }
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

    fn wanted_memberships(&self, findings: &mut Vec<Finding>) {
        for ((member, role), rules) in &self.wanted.memberships {
            if !self.found.roles.contains_key(member) || !self.found.roles.contains_key(role) {
                continue;
            }
            let thing = || format!("{} as {}", identifier(member), identifier(role));
            let (role_name, member_name) = (identifier(role), identifier(member));
            let grant = format!("grant {role_name} to {member_name}{};", self.dialect.becoming());
            let grants: Vec<&Membership> = self
                .found
                .memberships
                .iter()
                .filter(|grant| grant.member == *member && grant.role == *role)
                .collect();
            if !grants.iter().any(|grant| grant.set) {
                let found_ = if grants.is_empty() { "no grant" } else { "a grant without SET" };
                let wanted = format!("SET ROLE, for {}", listed(rules));
                findings.push(found(Drift::Missing, thing(), found_, wanted, grant));
            }
            for grant in grants {
                let by = self.granted_by(&grant.grantor);
                if grant.inherit && self.dialect.version >= 16 {
                    findings.push(found(
                        Drift::Privileged,
                        thing(),
                        format!("a grant by {} with INHERIT", identifier(&grant.grantor)),
                        "rights only by SET ROLE",
                        format!("grant {role_name} to {member_name} with inherit false{by};"),
                    ));
                }
                if grant.admin {
                    findings.push(found(
                        Drift::Privileged,
                        thing(),
                        format!("a grant by {} with ADMIN OPTION", identifier(&grant.grantor)),
                        "no right to pass it on",
                        format!("revoke admin option for {role_name} from {member_name}{by};"),
                    ));
                }
            }
        }
    }

    /// Since 16 a grant belongs to its grantor.
    fn granted_by(&self, grantor: &str) -> String {
        if self.dialect.version >= 16 {
            format!(" granted by {}", identifier(grantor))
        } else {
            String::new()
        }
    }

    /// The group that `pg_ident.conf` names.
    fn group(&self, findings: &mut Vec<Finding>) {
        let Some(group) = self.dialect.group() else { return };
        let quoted = identifier(&group);
        let members: BTreeSet<&str> = self
            .found
            .memberships
            .iter()
            .filter(|grant| grant.role == group)
            .map(|grant| grant.member.as_str())
            .collect();
        for (name, role) in self.wanted.own() {
            if self.found.roles.contains_key(name) && !members.contains(name.as_str()) {
                let mut repair = format!(
                    "grant {quoted} to {} with inherit false, set false;",
                    identifier(name)
                );
                if !self.found.roles.contains_key(&group) {
                    repair = format!("create role {quoted} nologin;\n{repair}");
                }
                findings.push(found(
                    Drift::Missing,
                    format!("{} in {quoted}", identifier(name)),
                    "no member",
                    format!("a member, so that Envoy may be it, for {}", listed(&role.rules)),
                    repair,
                ));
            }
        }
        let own: BTreeSet<&str> = self.wanted.own().map(|(name, _)| name.as_str()).collect();
        for stranger in members.difference(&own) {
            findings.push(found(
                Drift::Superfluous,
                format!("{} in {quoted}", identifier(stranger)),
                "a member",
                "only roles that a rule names",
                format!("revoke {quoted} from {};", identifier(stranger)),
            ));
        }
    }

    /// Grants that no rule asks for, to roles of the policy and of them.
    fn other_memberships(&self, findings: &mut Vec<Finding>) {
        let group = self.dialect.group();
        let is_ours = |name: &String| self.wanted.roles.contains_key(name);
        for grant in &self.found.memberships {
            let Membership { member, role, grantor, .. } = grant;
            let asked = self.wanted.memberships.contains_key(&(member.clone(), role.clone()));
            if asked || Some(role) == group.as_ref() {
                continue;
            }
            let privileged = self.wanted.roles.get(member).is_some_and(|role| role.privileged);
            let of_ours = is_ours(member) || self.carries_ours(member);
            let repair = format!(
                "revoke {} from {}{};",
                identifier(role),
                identifier(member),
                self.granted_by(grantor)
            );
            let thing = format!("{} as {}", identifier(member), identifier(role));
            if of_ours && is_of_postgres(role) && !privileged {
                findings.push(found(
                    Drift::Privileged,
                    thing,
                    "a member of a role of Postgres itself",
                    "none, or `allow_privileged: true` in its rules",
                    repair,
                ));
            } else if is_ours(member)
                && !self.known.contains(role)
                && !is_predefined(member)
                && !is_of_postgres(role)
            {
                findings.push(found(
                    Drift::Superfluous,
                    thing,
                    "a member",
                    "no grant, or a rule that names both, or --known-role for one that only carries rights",
                    repair,
                ));
            } else if is_ours(role)
                && !is_predefined(role)
                && !is_ours(member)
                && (grant.set || grant.inherit)
                && !self.known.contains(member)
            {
                findings.push(found(
                    Drift::Superfluous,
                    thing,
                    "a member that no rule names",
                    "only roles of the policy, or --known-role for one of the administrator's",
                    repair,
                ));
            }
        }
    }

    /// Whether a known role gives its rights to a role of the policy.
    fn carries_ours(&self, role: &String) -> bool {
        self.known.contains(role)
            && self.found.members(role).iter().any(|member| self.wanted.roles.contains_key(*member))
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
