//! What a caller hears when the answer is no.

use std::borrow::Cow;
use std::fmt;

use host_calls::{HostError, LocalResponse, send_local_response};
use serde::Serialize;
use signet_policy::{DenialDetail, Header, HttpDecision, HttpDenial, NoIdentity, SpiffeId};

/// Longest part of a path or a method that is repeated to the caller or in the log, in bytes.
const SHOWN: usize = 256;

/// `PERMISSION_DENIED` and `INVALID_ARGUMENT` of gRPC.
const GRPC_DENIED: u8 = 7;
const GRPC_INVALID: u8 = 3;

/// What the caller sent, for logs and answers. Its own words are cut and never trusted.
#[derive(Clone, Debug)]
pub(crate) struct Sent<'a> {
    peer: Result<SpiffeId<'a>, NoIdentity>,
    method: &'a [u8],
    path: &'a [u8],
    request_id: &'a [u8],
}

impl<'a> Sent<'a> {
    pub(crate) fn new(headers: &[Header<'a>], peer: Result<SpiffeId<'a>, NoIdentity>) -> Self {
        let first = |name: &[u8]| {
            let value = headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
            let value = value.unwrap_or_default();
            value.get(..SHOWN).unwrap_or(value)
        };
        Self {
            peer,
            method: first(b":method"),
            path: first(b":path"),
            request_id: first(b"x-request-id"),
        }
    }
}

impl fmt::Display for Sent<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, method, path, request_id } = self;
        let peer = peer.map_or("-", SpiffeId::as_str);
        let (method, path, id) =
            (method.escape_ascii(), path.escape_ascii(), request_id.escape_ascii());
        write!(out, "request {id}: {method} {path} from {peer}")
    }
}

/// The body of a denial. Absent parts are left out.
#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
    method: Cow<'a, str>,
    path: Cow<'a, str>,
    request_id: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
}

/// Answers a request that is not allowed: 400 if it is ambiguous, else 403, and a gRPC status to a gRPC caller.
#[cold]
pub(crate) fn answer(
    detail: DenialDetail,
    decision: &HttpDecision<'_>,
    sent: &Sent<'_>,
    is_grpc: bool,
) -> Result<(), HostError> {
    let (status, error, grpc_status) = match decision {
        HttpDecision::Refuse(_) => (400, "ambiguous_request", GRPC_INVALID),
        HttpDecision::Deny(HttpDenial::NoIdentity(_)) => (403, "no_identity", GRPC_DENIED),
        HttpDecision::Deny(_) | HttpDecision::Allow { .. } => (403, "denied", GRPC_DENIED),
    };
    let body = if is_grpc {
        format!("{error}, request {}", String::from_utf8_lossy(sent.request_id))
    } else {
        json(detail, decision, sent, error)
    };
    send_local_response(&LocalResponse {
        status,
        details: &format!("signet.{}.{}", decision.verdict(), decision.reason()),
        body: &body,
        headers: if is_grpc { &[] } else { &[("content-type", "application/json")] },
        grpc_status: is_grpc.then_some(grpc_status),
    })
}

fn json(detail: DenialDetail, decision: &HttpDecision<'_>, sent: &Sent<'_>, error: &str) -> String {
    // An ambiguity is a fault of what the caller sent, so it may know which. Rules are ours.
    let may_know = detail == DenialDetail::Rule || matches!(decision, HttpDecision::Refuse(_));
    let body = Body {
        error,
        method: String::from_utf8_lossy(sent.method),
        path: String::from_utf8_lossy(sent.path),
        request_id: String::from_utf8_lossy(sent.request_id),
        detail: may_know.then(|| decision.to_string()),
        rule: if may_know { decision.rule() } else { None },
    };
    serde_json::to_string(&body).unwrap_or_default() + "\n"
}

/// Answers a request that the filter could not even look at. Should this fail too, the request stays paused.
#[cold]
pub(crate) fn answer_broken() {
    let response = LocalResponse {
        status: 503,
        details: "signet.deny.host_call_failed",
        body: "{\"error\":\"denied\"}\n",
        headers: &[],
        grpc_status: None,
    };
    let _ = send_local_response(&response);
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADERS: [Header<'_>; 3] =
        [(b":method", b"GET"), (b":path", b"/a\n\xff"), (b"x-request-id", b"id-1")];

    #[test]
    fn the_log_line_holds_what_was_sent_on_one_line() {
        let sent = Sent::new(&HEADERS, Err(NoIdentity::NoCertificate));
        assert_eq!(sent.to_string(), r"request id-1: GET /a\n\xff from -");
    }

    #[test]
    fn the_rule_is_told_only_where_the_policy_says_so() {
        let sent = Sent::new(&HEADERS, Err(NoIdentity::NoCertificate));
        let decision = HttpDecision::Deny(HttpDenial::Rule("secret"));
        let class = json(DenialDetail::Class, &decision, &sent, "denied");
        assert_eq!(
            class,
            "{\"error\":\"denied\",\"method\":\"GET\",\"path\":\"/a\\n\u{fffd}\",\"request_id\":\"id-1\"}\n"
        );
        let rule = json(DenialDetail::Rule, &decision, &sent, "denied");
        assert!(rule.contains(r#""detail":"denied by rule `secret`","rule":"secret""#), "{rule}");
    }
}
