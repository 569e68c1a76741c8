//! The judgement of one start-up packet: plain values in, plain values out.

use std::borrow::Cow;

use pgwire::{
    ErrorResponse, OptionsError, Parameter, StartupMessage, encode_startup, parse_options,
};
use signet_policy::{
    DenialDetail, NoIdentity, OnSvidExpiry, Policy, PostgresDecision, PostgresDenial,
    PostgresRefusal, SpiffeId, StartupRequest,
};

/// Longest part of the client's own words that is repeated to it or in the log, in bytes.
const SHOWN: usize = 63;

/// Postgres cuts an application's name after this many bytes, and says so to the client.
const MAX_APPLICATION_NAME: usize = 63;

/// A start-up that goes on to Postgres.
#[derive(Debug)]
pub(crate) struct Allowed {
    /// The packet that Postgres gets.
    pub(crate) packet: Vec<u8>,
    pub(crate) rule: String,
    pub(crate) role: String,
    /// For logs: what is not printable ASCII is escaped.
    pub(crate) database: String,
    /// Whether the session speaks the replication protocol.
    pub(crate) replicates: bool,
    /// For the log: what is allowed, and to what it was asked.
    pub(crate) account: String,
    /// Longest life of the session, in seconds.
    pub(crate) max_session: Option<u64>,
    /// Whether the session ends with the SVID that opened it.
    pub(crate) ends_with_svid: bool,
}

/// A start-up, or anything before it, that gets an error.
#[derive(Debug)]
pub(crate) struct Denied {
    /// The `ErrorResponse` for the client.
    pub(crate) error: Vec<u8>,
    pub(crate) verdict: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) rule: Option<String>,
    /// For the log.
    pub(crate) account: String,
    pub(crate) has_identity: bool,
}

impl Denied {
    /// For bytes that are not the protocol, or that this place does not take: why, and what would be taken.
    pub(crate) fn refused(
        sqlstate: &str,
        reason: &'static str,
        (message, hint): (&str, &str),
        session: &str,
    ) -> Self {
        Self {
            error: error(sqlstate, message, &format!("session {session}"), hint),
            verdict: "refuse",
            reason,
            rule: None,
            account: message.to_owned(),
            has_identity: true,
        }
    }
}

/// Decides about a start-up. `session` names the connection in logs.
pub(crate) fn judge(
    policy: &Policy,
    peer: Result<SpiffeId<'_>, NoIdentity>,
    message: &StartupMessage<'_>,
    session: &str,
) -> Result<Allowed, Denied> {
    let settings = parse_options(message.last("options").unwrap_or_default())
        .map_err(|fault| refused_options(&fault, session))?;
    let options: Vec<Parameter<'_>> = settings
        .iter()
        .map(|setting| (setting.name.as_slice(), setting.value.as_slice()))
        .collect();
    let request = StartupRequest { parameters: &message.parameters, options: &options };

    let decision = policy.decide_postgres(peer, &request);
    let asked = asked(message);
    let PostgresDecision::Allow(allowed) = &decision else {
        return Err(denied(policy, &decision, message, &asked, session));
    };
    let mut parameters: Vec<Parameter<'_>> = allowed.startup_parameters().collect();
    if !parameters.iter().any(|(name, _)| name.eq_ignore_ascii_case(b"application_name")) {
        parameters.push((b"application_name", application_name(allowed.spiffe_id)));
    }
    let packet = encode_startup(message.version, parameters).map_err(|fault| {
        let hint = "send fewer or shorter parameters: the policy adds its own";
        Denied::refused("08P01", "startup_too_long", (&fault.to_string(), hint), session)
    })?;
    Ok(Allowed {
        packet,
        rule: allowed.rule.name.to_string(),
        role: allowed.role.to_owned(),
        database: printable(allowed.database),
        replicates: message.last("replication").is_some(),
        account: [&decision.to_string(), " (", &asked, ")"].concat(),
        max_session: allowed.rule.max_session,
        ends_with_svid: allowed.rule.on_svid_expiry == OnSvidExpiry::End,
    })
}

/// What an application that names itself not is called: by its SPIFFE ID, of a long one the end.
fn application_name(spiffe_id: &str) -> &[u8] {
    let bytes = spiffe_id.as_bytes();
    bytes.last_chunk::<MAX_APPLICATION_NAME>().map_or(bytes, <[u8; MAX_APPLICATION_NAME]>::as_slice)
}

/// What the client asked for.
fn asked(message: &StartupMessage<'_>) -> String {
    let user = shown(message.last("user").unwrap_or_default());
    let database =
        message.last("database").map_or(Cow::Borrowed(&*user), |name| shown(name).into());
    ["user \"", &user, "\", database \"", &database, "\""].concat()
}

fn shown(bytes: &[u8]) -> String {
    printable(bytes.get(..SHOWN).unwrap_or(bytes))
}

/// Bytes as `escape_ascii` shows them. Most names need no escape, and to look is a tenth of writing byte by byte.
fn printable(bytes: &[u8]) -> String {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'\\' | b'"' | b'\'');
    match String::from_utf8(bytes.to_vec()) {
        Ok(text) if bytes.iter().all(is_plain) => text,
        _ => bytes.escape_ascii().to_string(),
    }
}

fn denied(
    policy: &Policy,
    decision: &PostgresDecision<'_>,
    message: &StartupMessage<'_>,
    asked: &str,
    session: &str,
) -> Denied {
    let text = match decision {
        PostgresDecision::Deny(PostgresDenial::NoIdentity(no_identity)) => no_identity.to_string(),
        PostgresDecision::Deny(PostgresDenial::Database) => {
            let database = message.last("database").or_else(|| message.last("user"));
            format!("access to database \"{}\" denied", shown(database.unwrap_or_default()))
        }
        PostgresDecision::Deny(PostgresDenial::User { .. }) => {
            format!("access as user \"{}\" denied", shown(message.last("user").unwrap_or_default()))
        }
        PostgresDecision::Deny(PostgresDenial::Parameter { name, .. }) => {
            format!("parameter \"{}\" may not be set at start-up", shown(name))
        }
        PostgresDecision::Refuse(_) => decision.to_string(),
        PostgresDecision::Deny(PostgresDenial::Withdrawn) => {
            "access denied: the identity of the database's workload is withdrawn".to_owned()
        }
        PostgresDecision::Deny(PostgresDenial::NoRule) | PostgresDecision::Allow(_) => {
            "access denied".to_owned()
        }
    };
    let mut detail = format!("{asked}, session {session}");
    if policy.filter().denial_detail == DenialDetail::Rule {
        detail = format!("{decision}: {detail}");
    }
    Denied {
        error: error(decision.sqlstate().unwrap_or("28000"), &text, &detail, hint(decision)),
        verdict: decision.verdict(),
        reason: decision.reason(),
        rule: decision.rule().map(str::to_owned),
        account: format!("{decision} ({asked})"),
        has_identity: !matches!(decision, PostgresDecision::Deny(PostgresDenial::NoIdentity(_))),
    }
}

/// What the client, or whoever runs it, can do about a denial. It tells nothing of the policy.
fn hint(decision: &PostgresDecision<'_>) -> &'static str {
    match decision {
        PostgresDecision::Deny(PostgresDenial::NoIdentity(_)) => {
            "present one certificate that is valid now and holds exactly one SPIFFE ID"
        }
        PostgresDecision::Deny(PostgresDenial::NoRule) => {
            "the policy must name this workload; the proxy's log tells of this session"
        }
        PostgresDecision::Deny(PostgresDenial::Withdrawn) => {
            "nobody is let in until the identity is issued again"
        }
        PostgresDecision::Deny(PostgresDenial::Database) => {
            "name a database that the policy gives to this workload"
        }
        PostgresDecision::Deny(PostgresDenial::User { .. }) => {
            "name a user that the policy gives to this workload"
        }
        PostgresDecision::Deny(PostgresDenial::Parameter { name, .. })
            if name.eq_ignore_ascii_case(b"replication") =>
        {
            "the rule must say `replication: true`, and `databases: [\"*\"]` for the whole server"
        }
        PostgresDecision::Deny(PostgresDenial::Parameter { .. }) => {
            "SET it once the session runs, or have it listed in the rule's `client_parameters`"
        }
        PostgresDecision::Refuse(PostgresRefusal::NoUser) => "name a user",
        PostgresDecision::Refuse(
            PostgresRefusal::UserTooLong | PostgresRefusal::DatabaseTooLong,
        ) => "names have at most 63 bytes",
        PostgresDecision::Refuse(PostgresRefusal::TooManyParameters) => {
            "send at most 128 parameters"
        }
        PostgresDecision::Allow(_) => "",
    }
}

fn refused_options(fault: &OptionsError, session: &str) -> Denied {
    match fault {
        OptionsError::Switch(switch) => {
            let message = format!("switch \"{}\" may not be set at start-up", shown(switch));
            let hint = "use `-c name=value` or `--name=value`";
            Denied::refused("42501", "options_switch", (&message, hint), session)
        }
        OptionsError::NoValue(setting) => {
            let message =
                format!("setting \"{}\" in options has no name or no value", shown(setting));
            let hint = "use `-c name=value` or `--name=value`";
            Denied::refused("08P01", "options_malformed", (&message, hint), session)
        }
    }
}

fn error(sqlstate: &str, message: &str, detail: &str, hint: &str) -> Vec<u8> {
    ErrorResponse { sqlstate, message: &format!("signet: {message}"), detail, hint }.encode()
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn every_octet_is_shown_as_escape_ascii_shows_it() {
        for octet in 0..=u8::MAX {
            let name = [b'a', octet, b'z'];
            assert_eq!(printable(&name), name.escape_ascii().to_string());
        }
    }
}
