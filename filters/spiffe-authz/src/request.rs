//! One request: gather the facts, ask the policy, perform the answer.

use std::rc::Rc;

use host_calls::{
    Action, HeaderMap, HostError, Level, header_pairs, log, property, reuse, reuse_list,
    set_wasm_property, unix_seconds,
};
use signet_policy::{Caller, Header, HttpDecision, HttpRequest};

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
    let peer = configuration.peers.of(&state, policy);
    reuse(state);
    // A clock that cannot be read makes every certificate expired.
    let peer = peer.caller(unix_seconds().unwrap_or(u64::MAX), policy.expiry_grace());
    let port = if configuration.reads_port { destination_port()? } else { None };
    let found = FoundClaims::read(&configuration.claims)?;
    let claims = found.values();
    let request = HttpRequest { headers: &headers, port, claims: &claims };

    let decision = policy.decide_http(peer, &request);
    configuration.metrics.count(&decision);
    configuration.noted.note(&decision)?;
    configuration.forgeries.strip(HeaderMap::Request, &headers)?;
    let sent = || Sent::new(&headers, peer.map(Caller::id));
    if let Some(shadow) = policy.shadow_http(peer, &request) {
        configuration.metrics.count_shadow(&shadow);
        set_wasm_property("signet.shadow", shadow.rule().unwrap_or(shadow.reason()))?;
        log(Level::Info, &format!("shadow: {}: {shadow} instead of {decision}", sent()));
    }
    match (decision, peer) {
        (HttpDecision::Allow { rule, db_role }, Ok(caller)) => {
            let told = Told { spiffe_id: caller.id().as_str(), rule, db_role };
            told_headers::tell(&policy.filter().headers, &told)?;
            reuse_list(headers);
            reuse(pairs.into());
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

fn destination_port() -> Result<Option<u16>, HostError> {
    let port = property("destination\0port")?;
    let port = port.as_deref().and_then(<[u8]>::first_chunk::<8>).copied().map(u64::from_le_bytes);
    Ok(port.and_then(|port| u16::try_from(port).ok()))
}
