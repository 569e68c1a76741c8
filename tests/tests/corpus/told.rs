//! What a runner found out about a case, and how it differs from what the case says.

use serde_json::Value;
use wasm_host::{Exchange, Headers, HttpFilter, HttpOutcome, HttpRequest, Noted};

use e2e::wire::Answer;

use crate::case::Case;

/// A decision as a runner saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// `allow`, `deny` or `refuse`; of Envoy itself also `stopped`, and `closed` where it gave no answer.
    pub(crate) decision: String,
    pub(crate) rule: Option<String>,
    pub(crate) db_role: Option<String>,
    /// Whether the filter said so; else Envoy itself.
    pub(crate) by_filter: bool,
    /// Whether it would name the rule if there was one: answers to gRPC have no body that could.
    pub(crate) names_rules: bool,
}

impl Told {
    /// By the filter in wasmtime.
    pub(crate) fn by_wasmtime(filter: &mut HttpFilter, case: &Case) -> Self {
        let exchange =
            filter.exchange(&request(case)).unwrap_or_else(|e| panic!("{}: {e}", case.id));
        Self::of_exchange(&exchange)
    }

    pub(crate) fn of_exchange(exchange: &Exchange) -> Self {
        let Noted { verdict, rule, role, .. } = Noted::read(&exchange.filter_state);
        let told =
            Self { decision: verdict, rule, db_role: role, by_filter: true, names_rules: true };
        let HttpOutcome::Forwarded { headers, .. } = &exchange.outcome else {
            assert_ne!(told.decision, "allow");
            return told;
        };
        assert_eq!(told.decision, "allow");
        // What the API is told is what was noted, and no forgery beside it.
        let values = |name: &str| -> Vec<String> {
            let lines = headers.iter().filter(|(known, _)| known == name.as_bytes());
            lines.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
        };
        assert_eq!(values("x-signet-rule"), Vec::from_iter(told.rule.clone()));
        assert_eq!(values("x-db-role"), Vec::from_iter(told.db_role.clone()));
        assert_eq!(values("x-spiffe-id").len(), 1);
        told
    }

    /// By Envoy's answer.
    pub(crate) fn by_envoy(answer: &Answer) -> Self {
        let told = |decision: &str, rule, by_filter| Self {
            decision: decision.to_owned(),
            rule,
            db_role: None,
            by_filter,
            names_rules: true,
        };
        match answer {
            Answer::Forwarded(seen) => {
                let one = |name: &str| match seen.values(name).as_slice() {
                    [] => None,
                    [value] => Some(value.clone()),
                    several => panic!("the API got {several:?} as {name}"),
                };
                let rule = one("x-signet-rule");
                Self { db_role: one("x-db-role"), ..told("allow", rule, true) }
            }
            Answer::Stopped { status, grpc_status, body } => {
                let body: Value = serde_json::from_str(body).unwrap_or_default();
                let rule = body["rule"].as_str().map(str::to_owned);
                let names_rules = !body.is_null();
                let by_filter = names_rules || grpc_status.is_some();
                let decision = match (status, grpc_status.as_deref()) {
                    (403, None) | (_, Some("7")) => "deny",
                    (400, None) | (_, Some("3")) => "refuse",
                    // Such as 404, for the `*` that no route has.
                    (404 | 426 | 501, None) => "stopped",
                    other => panic!("Envoy answered {other:?}: {body}"),
                };
                Self { names_rules, ..told(decision, rule, by_filter) }
            }
            Answer::Closed => told("closed", None, false),
        }
    }

    /// Whether the filter says the same as the case.
    pub(crate) fn is(&self, case: &Case) -> bool {
        self.decision == case.expect && self.rule == case.rule && self.db_role == case.db_role
    }

    /// Whether Envoy agrees with the case: forwarded or not, and by which rule and with which role. What Envoy itself
    /// stops, the policy has not decided; that is no agreement where the policy would forward it.
    pub(crate) fn agrees(&self, case: &Case) -> bool {
        if self.by_filter && !self.names_rules {
            return self.decision == case.expect;
        }
        if self.by_filter { self.is(case) } else { case.expect != "allow" || case.envoy_stops }
    }
}

/// The case as the filter sees it.
pub(crate) fn request(case: &Case) -> HttpRequest {
    let lower = |(name, value): (Vec<u8>, Vec<u8>)| (name.to_ascii_lowercase(), value);
    let state = match &case.from {
        None => "-|-".to_owned(),
        Some(from) => format!("{}|{from}", u64::MAX),
    };
    HttpRequest {
        peer: Some(state.into()),
        headers: arrived(case.lines().into_iter().map(lower).collect()),
        ..HttpRequest::default()
    }
}

/// What Envoy passes on to its filters: an extended CONNECT as a GET that asks for the upgrade, and a request
/// that asks for none (`Connection` must say so, and h2c is none) without both headers.
fn arrived(mut lines: Headers) -> Headers {
    if let Some(at) = lines.iter().position(|(name, _)| name == b":protocol") {
        let (_, protocol) = lines.remove(at);
        lines.retain(|(name, _)| name != b":method");
        lines.insert(0, (b":method".into(), b"GET".into()));
        lines.extend([(b"connection".into(), b"upgrade".into()), (b"upgrade".into(), protocol)]);
    }
    let has = |wanted: &[u8], test: fn(&str) -> bool| {
        let mut values = lines.iter().filter(|(name, _)| name == wanted);
        values.any(|(_, value)| test(&String::from_utf8_lossy(value).to_lowercase()))
    };
    let named = |value: &str| value.split(',').any(|option| option.trim() == "upgrade");
    if !(has(b"connection", named) && has(b"upgrade", |value| value != "h2c")) {
        lines.retain(|(name, _)| name != b"connection" && name != b"upgrade");
    }
    lines
}
