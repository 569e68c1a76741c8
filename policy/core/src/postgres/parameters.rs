//! Which start-up parameters a client may choose, and what Postgres is told in the end.

use super::Session;
use super::request::{Parameter, StartupRequest};
use crate::names::DatabaseName;
use crate::slice::PostgresRule;

/// Settings that any client may start its session with: what drivers send, and limits that bind
/// only the session itself.
const FREE_SETTINGS: [&str; 9] = [
    "client_encoding",
    "DateStyle",
    "TimeZone",
    "IntervalStyle",
    "extra_float_digits",
    "application_name",
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
];

/// What is done with one of the client's parameters.
enum Verdict<'a> {
    /// Pass it on under this name.
    Keep(&'a [u8]),
    /// Leave it out: it is read elsewhere, or it is ours to say.
    Drop,
    /// Refuse the connection. To drop it silently could run queries with another meaning
    /// (a start-up `search_path`, CVE-2025-12819).
    Refuse,
}

/// Where a parameter stood.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Packet,
    Options,
}

fn judge<'a>(rule: &'a PostgresRule, place: Place, (name, value): Parameter<'a>) -> Verdict<'a> {
    if place == Place::Packet {
        // Postgres compares these exactly, and reads them itself.
        match name {
            b"user" | b"database" | b"options" => return Verdict::Drop,
            b"replication" if may_replicate(rule, value) => return Verdict::Keep(name),
            _ if name.starts_with(b"_pq_.") => return Verdict::Keep(name),
            _ => {}
        }
    }
    if name.get(..7).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"signet.")) {
        return Verdict::Drop;
    }
    let chosen = rule.client_parameters.iter().flatten().map(crate::names::ParameterName::as_str);
    let known =
        FREE_SETTINGS.into_iter().chain(chosen).find(|known| is_setting(known, place, name));
    known.map_or(Verdict::Refuse, |known| Verdict::Keep(known.as_bytes()))
}

/// Whether the rule lets a connection be one for replication. `database` asks for a session in the database
/// that it names, as logical replication wants it. Every other value asks for one in none, which needs a rule
/// for all of them. This is no wall between databases: in either a role with REPLICATION can copy the server.
fn may_replicate(rule: &PostgresRule, value: &[u8]) -> bool {
    rule.replication && (value == b"database" || rule.databases.iter().any(DatabaseName::is_any))
}

/// Whether `name` spells the setting `known`: in any case, and in `options` with `-` for `_`, as
/// Postgres' own `ParseLongOption` has it.
fn is_setting(known: &str, place: Place, name: &[u8]) -> bool {
    let fold = |b: &u8| match b {
        b'-' if place == Place::Options => b'_',
        b => b.to_ascii_lowercase(),
    };
    known.len() == name.len()
        && name.iter().map(fold).eq(known.bytes().map(|b| b.to_ascii_lowercase()))
}

/// All parameters of a request in the order in which Postgres applies them.
fn placed(request: StartupRequest<'_>) -> impl Iterator<Item = (Place, Parameter<'_>)> {
    let options = request.options.iter().map(|pair| (Place::Options, *pair));
    options.chain(request.parameters.iter().map(|pair| (Place::Packet, *pair)))
}

/// The name of the first parameter that the rule refuses.
pub(crate) fn refused_parameter<'a>(
    rule: &'a PostgresRule,
    request: &StartupRequest<'a>,
) -> Option<&'a [u8]> {
    let refused = |place, pair| matches!(judge(rule, place, pair), Verdict::Refuse);
    placed(*request).find(|(place, pair)| refused(*place, *pair)).map(|(_, (name, _))| name)
}

impl<'a> Session<'a> {
    /// What the rewritten StartupMessage says, each name once: `user`, `database`, the client's
    /// parameters that the rule lets through, the rule's settings that the client didn't choose
    /// itself, and `signet.spiffe_id` and `signet.rule`.
    ///
    /// `options` is not among them: what it set is here under its own names.
    pub fn startup_parameters(&self) -> impl Iterator<Item = Parameter<'a>> {
        let Self { rule, role, database, spiffe_id, request } = *self;
        // Judged once each: this is the larger part of what a new session costs the filter.
        let kept: Vec<Parameter<'a>> = placed(request)
            .filter_map(|(place, pair)| match judge(rule, place, pair) {
                Verdict::Keep(name) => Some((name, pair.1)),
                Verdict::Drop | Verdict::Refuse => None,
            })
            .collect();
        let says = |parameters: &[Parameter<'_>], name: &[u8]| {
            parameters.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
        };
        let last_of_each = kept.iter().enumerate().filter(|(i, (name, _))| {
            !says(kept.get(i.saturating_add(1)..).unwrap_or_default(), name)
        });
        let settings = rule
            .settings
            .iter()
            .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
            .filter(|(name, _)| !says(&kept, name));
        let parameters: Vec<Parameter<'a>> =
            [(&b"user"[..], role.as_bytes()), (b"database", database)]
                .into_iter()
                .chain(last_of_each.map(|(_, pair)| *pair))
                .chain(settings)
                .chain([
                    (&b"signet.spiffe_id"[..], spiffe_id.as_bytes()),
                    (b"signet.rule", rule.name.as_str().as_bytes()),
                ])
                .collect();
        parameters.into_iter()
    }
}
