//! Compares who belongs to which role with what the policy asks.

use std::collections::BTreeSet;

use super::drift::{Comparison, found, listed};
use super::finding::{Drift, Finding};
use super::found::Membership;
use super::quote::identifier;
use super::wanted::{is_of_postgres, is_predefined};

impl Comparison<'_> {
    /// Who may become whom, who is in the group, and who is in anything else.
    pub(super) fn memberships(&self, findings: &mut Vec<Finding>) {
        self.wanted_memberships(findings);
        self.group(findings);
        self.other_memberships(findings);
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
}
