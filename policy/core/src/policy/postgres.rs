//! The decision about a connection to Postgres.

use super::Policy;
use super::http::heaviest_id;
use crate::identity::SpiffeId;
use crate::names::{DatabaseName, RoleName, is_database};
use crate::pattern::IdPattern;
use crate::peer::NoIdentity;
use crate::postgres::{
    PostgresDecision, PostgresDenial, Session, StartupRequest, refused_parameter,
};
use crate::slice::PostgresRule;

impl Policy {
    /// Whether any Postgres rule names `id`: what can be said of a peer before its start-up packet.
    pub fn admits_postgres_peer(&self, id: SpiffeId<'_>) -> bool {
        self.postgres.names(id)
    }

    /// Decides about a connection of `peer`.
    ///
    /// Of the rules that match caller and database, the one with the heaviest `from` decides alone,
    /// then an exact database over `*`. Rules are never united.
    pub fn decide_postgres<'a>(
        &'a self,
        peer: Result<SpiffeId<'a>, NoIdentity>,
        request: &StartupRequest<'a>,
    ) -> PostgresDecision<'a> {
        let (user, database) = match request.user_and_database() {
            Ok(found) => found,
            Err(refusal) => return PostgresDecision::Refuse(refusal),
        };
        let id = match peer {
            Ok(id) => id,
            Err(no_identity) => {
                return PostgresDecision::Deny(PostgresDenial::NoIdentity(no_identity));
            }
        };
        let rule = match self.heaviest_postgres(id, database) {
            Some(rule) => rule,
            None if self.admits_postgres_peer(id) => {
                return PostgresDecision::Deny(PostgresDenial::Database);
            }
            None if self.withdrawn => return PostgresDecision::Deny(PostgresDenial::Withdrawn),
            None => return PostgresDecision::Deny(PostgresDenial::NoRule),
        };
        let Some(login) = role_for(rule, user) else {
            return PostgresDecision::Deny(PostgresDenial::User { rule: rule.name.as_str() });
        };
        if let Some(name) = refused_parameter(rule, request) {
            let rule = rule.name.as_str();
            return PostgresDecision::Deny(PostgresDenial::Parameter { rule, name });
        }
        PostgresDecision::Allow(Session {
            rule,
            role: login.as_str(),
            database,
            spiffe_id: id.as_str(),
            request: *request,
        })
    }

    /// The role that a connection of `id` logs in as when it asks for nothing else.
    pub fn login_role(&self, id: SpiffeId<'_>, database: &[u8]) -> Option<&str> {
        self.heaviest_postgres(id, database).map(|rule| rule.login_role.as_str())
    }

    fn heaviest_postgres(&self, id: SpiffeId<'_>, database: &[u8]) -> Option<&PostgresRule> {
        if !is_database(database) {
            return None;
        }
        let rule = |number: u32| self.postgres.rule(number);
        let mut best = self.postgres.heaviest(id, database).and_then(rule);
        self.postgres.each_wide(id, |number| {
            let Some(rule) = rule(number) else { return };
            let Some((from, exact)) = weight(rule, id, database) else { return };
            let heavier = best.is_none_or(|other| {
                weight(other, id, database).is_none_or(|(other_from, other_exact)| {
                    from.compare_weight(other_from)
                        .then(exact.cmp(&other_exact))
                        .then_with(|| other.name.cmp(&rule.name))
                        .is_gt()
                })
            });
            if heavier {
                best = Some(rule);
            }
        });
        best
    }
}

/// How narrowly a rule matches, if it does: by its heaviest `from`, then whether it names the database.
fn weight<'p>(
    rule: &'p PostgresRule,
    id: SpiffeId<'_>,
    database: &[u8],
) -> Option<(&'p IdPattern, bool)> {
    let from = heaviest_id(&rule.from, id)?;
    let exact = rule.databases.iter().any(|name| name.as_str().as_bytes() == database);
    (exact || rule.databases.iter().any(DatabaseName::is_any)).then_some((from, exact))
}

/// The role that a connection gets which asks for `user`, if the rule lets it.
fn role_for<'p>(rule: &'p PostgresRule, user: &[u8]) -> Option<&'p RoleName> {
    match &rule.may_act_as {
        None => Some(&rule.login_role),
        Some(others) => std::iter::once(&rule.login_role)
            .chain(others)
            .find(|role| role.as_str().as_bytes() == user),
    }
}
