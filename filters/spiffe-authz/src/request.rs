//! One request: gather the facts, ask the policy, perform the answer.

use std::rc::Rc;

use host_calls::{
    Action, HeaderMap, HostError, Level, header_pairs, log, property, set_wasm_property,
    unix_seconds,
};
use signet_policy::{Header, HttpDecision, HttpRequest, NoIdentity, Peer, SpiffeId};

use crate::{
    claims::FoundClaims,
    configuration::Configuration,
    denial::{self, Sent},
    told_headers::{self, Told},
};

/// Decides about the request at hand. A host call that fails denies.
pub(crate) fn decide(configuration: Result<Rc<Configuration>, HostError>) -> Action {
    configuration.and_then(|configuration| perform(&configuration)).unwrap_or_else(|error| {
        log(Level::Error, &format!("denied a request: a host call failed: {error}"));
        denial::answer_broken();
        Action::Pause
    })
}

fn perform(configuration: &Configuration) -> Result<Action, HostError> {
    let policy = &configuration.policy;
    let pairs = header_pairs(HeaderMap::Request)?;
    let headers: Vec<Header<'_>> = pairs.to_vec();
    let state = property("filter_state\0signet.peer")?.unwrap_or_default();
    let peer = identify(&state, policy.expiry_grace());
    let port = if configuration.reads_port { destination_port()? } else { None };
    let found = FoundClaims::read(&configuration.claims)?;
    let claims = found.values();
    let request = HttpRequest { headers: &headers, port, claims: &claims };

    let decision = policy.decide_http(peer, &request);
    configuration.metrics.count(&decision);
    note(&decision)?;
    let names = &policy.filter().headers;
    told_headers::strip(names, HeaderMap::Request, &headers)?;
    let sent = || Sent::new(&headers, peer);
    if let Some(shadow) = policy.shadow_http(peer, &request) {
        configuration.metrics.count_shadow(&shadow);
        set_wasm_property("signet.shadow", shadow.rule().unwrap_or(shadow.reason()))?;
        log(Level::Info, &format!("shadow: {}: {shadow} instead of {decision}", sent()));
    }
    match (decision, peer) {
        (HttpDecision::Allow { rule, db_role }, Ok(id)) => {
            let told = Told { spiffe_id: id.as_str(), rule, db_role };
            told_headers::tell(names, &told)?;
            Ok(Action::Continue)
        }
        (decision, _) => {
            let sent = sent();
            log(Level::Warn, &format!("{sent}: {decision}"));
            denial::answer(policy.filter().denial_detail, &decision, &sent, request.is_grpc())?;
            Ok(Action::Pause)
        }
    }
}

/// Who calls, by what the listener wrote. A clock that cannot be read makes every certificate expired.
fn identify(state: &[u8], grace: u64) -> Result<SpiffeId<'_>, NoIdentity> {
    Peer::from_filter_state(state)?.check_expiry(unix_seconds().unwrap_or(u64::MAX), grace)
}

fn destination_port() -> Result<Option<u16>, HostError> {
    let port = property("destination\0port")?;
    let port = port.as_deref().and_then(<[u8]>::first_chunk::<8>).copied().map(u64::from_le_bytes);
    Ok(port.and_then(|port| u16::try_from(port).ok()))
}

/// Writes the decision where access logs and the second wall find it.
///
/// Each value costs half a microsecond, so an allow writes two: its rule, and the role with the verdict (`allow as ROLE`).
/// The role that a log takes from the header instead would be the client's own word wherever Envoy answers before this
/// filter has run.
fn note(decision: &HttpDecision<'_>) -> Result<(), HostError> {
    match decision {
        HttpDecision::Allow { db_role: Some(role), .. } => {
            set_wasm_property("signet.decision", &["allow as ", role].concat())?;
        }
        HttpDecision::Allow { .. } => set_wasm_property("signet.decision", decision.verdict())?,
        HttpDecision::Deny(_) | HttpDecision::Refuse(_) => {
            set_wasm_property("signet.decision", decision.verdict())?;
            set_wasm_property("signet.reason", decision.reason())?;
        }
    }
    match decision.rule() {
        Some(rule) => set_wasm_property("signet.rule", rule),
        None => Ok(()),
    }
}
