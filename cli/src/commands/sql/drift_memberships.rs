//! Compares who belongs to which role with what the policy asks.

use std::collections::BTreeSet;

use super::drift::{Comparison, found, listed};
use super::finding::{Drift, Finding};
use super::found::Membership;
use super::quote::identifier;
use super::script::create;
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
                let grant = format!(
                    "grant {quoted} to {} with inherit false, set false;",
                    identifier(name)
                );
                // Every role that is missing there says so, and the group is made once.
                let there = self.found.roles.contains_key(&group);
                let create = if there { String::new() } else { create(&group, "nologin") };
                findings.push(found(
                    Drift::Missing,
                    format!("{} in {quoted}", identifier(name)),
                    "no member",
                    format!("a member, so that Envoy may be it, for {}", listed(&role.rules)),
                    create + &grant,
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
        let carriers = self.carriers();
        for grant in &self.found.memberships {
            let Membership { member, role, grantor, .. } = grant;
            let asked = self.wanted.memberships.contains_key(&(member.clone(), role.clone()));
            if asked {
                continue;
            }
            let repair = format!(
                "revoke {} from {}{};",
                identifier(role),
                identifier(member),
                self.granted_by(grantor)
            );
            let thing = format!("{} as {}", identifier(member), identifier(role));
            let excess = self.excess(role).filter(|_| carriers.contains(member.as_str()));
            if let Some(excess) = excess {
                findings.push(found(
                    Drift::Privileged,
                    thing,
                    excess,
                    "none, or `allow_privileged: true` in each of its rules",
                    repair,
                ));
            } else if Some(role) == group.as_ref() {
                // Who is in it is told of already.
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

    /// What whoever belongs to this role may do beyond an ordinary one.
    fn excess(&self, role: &str) -> Option<String> {
        if is_of_postgres(role) {
            return Some("a member of a role of Postgres itself".to_owned());
        }
        let (what, _) = self.found.roles.get(role)?.excess().next()?;
        Some(format!("a member of a role that may do more than a workload should: {what}"))
    }

    /// The policy's roles that are to be ordinary, and whatever other roles these belong to, through others as well.
    fn carriers(&self) -> BTreeSet<&str> {
        let ordinary = self.wanted.roles.iter().filter(|(_, role)| !role.privileged);
        let mut carriers: BTreeSet<&str> = ordinary.map(|(name, _)| name.as_str()).collect();
        let mut next: Vec<&str> = carriers.iter().copied().collect();
        while let Some(member) = next.pop() {
            for grant in self.found.memberships.iter().filter(|g| g.member == member && g.gives()) {
                let role = grant.role.as_str();
                let is_judged = self.wanted.roles.contains_key(role) || self.excess(role).is_some();
                if !is_judged && carriers.insert(role) {
                    next.push(role);
                }
            }
        }
        carriers
    }
}
