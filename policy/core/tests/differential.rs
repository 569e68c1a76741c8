//! Random policies and requests: this crate decides as a reference evaluator does that shares no code with it.
//!
//! `SIGNET_DIFFERENTIAL_POLICIES=250` makes it 10,000 requests.

#[path = "../../../tests/tests/differential/postgres_random.rs"]
#[allow(dead_code, reason = "documents are for Envoy")]
mod postgres_random;
#[path = "../../../tests/tests/differential/postgres_reference.rs"]
mod postgres_reference;
#[path = "../../../tests/tests/differential/random.rs"]
#[allow(dead_code, reason = "documents are for Envoy")]
mod random;
#[path = "../../../tests/tests/differential/reference.rs"]
mod reference;

use proptest::test_runner::{Config, TestRunner};
use reference::Decision;
use signet_policy::{
    Claim, Header, HttpDecision, HttpRequest, Parameter, Peer, Policy, Slice, SpiffeId,
    StartupRequest,
};

const REQUESTS: usize = 40;

fn decide(policy: &Policy, request: &reference::Request) -> Decision {
    let mut headers: Vec<Header<'_>> = vec![
        (b":method", request.method.as_bytes()),
        (b":path", request.path.as_bytes()),
        (b":authority", request.authority.as_bytes()),
    ];
    if let Some(protocol) = &request.upgrade {
        headers.extend([(&b"connection"[..], &b"upgrade"[..]), (b"upgrade", protocol.as_bytes())]);
    }
    headers.extend(request.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    let claims: Vec<Claim<'_>> =
        request.claims.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let request_here = HttpRequest { headers: &headers, port: Some(request.port), claims: &claims };
    let state = match request.from.as_str() {
        "" => "-|-".to_owned(),
        from => format!("{}|{from}", u64::MAX),
    };
    let peer = Peer::from_filter_state(state.as_bytes());
    let peer = peer.and_then(|peer| peer.check_expiry(0, 0));
    let decision = policy.decide_http(peer, &request_here);
    let db_role = match decision {
        HttpDecision::Allow { db_role, .. } => db_role.map(str::to_owned),
        _ => None,
    };
    Decision { verdict: decision.verdict(), rule: decision.rule().map(str::to_owned), db_role }
}

fn runner() -> TestRunner {
    let wanted = std::env::var("SIGNET_DIFFERENTIAL_POLICIES");
    let cases = wanted.ok().and_then(|count| count.parse().ok()).unwrap_or(250);
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

#[test]
fn the_crate_decides_about_postgres_as_the_reference_does() {
    let run =
        runner().run(&postgres_random::policy_and_connections(REQUESTS), |(rules, connections)| {
            let slice = postgres_random::slice(&rules).to_string();
            let policy = Policy::compile(Slice::from_json(slice.as_bytes()).unwrap());
            for asked in &connections {
                let parameters: Vec<Parameter<'_>> = asked
                    .parameters
                    .iter()
                    .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
                    .collect();
                let request = StartupRequest { parameters: &parameters, options: &[] };
                let id = SpiffeId::parse(&asked.from).unwrap();
                let decision = policy.decide_postgres(Ok(id), &request);
                let found = postgres_reference::Decision {
                    verdict: decision.verdict(),
                    rule: decision.rule().map(str::to_owned),
                    role: decision.role().map(str::to_owned),
                };
                let expected = postgres_reference::decide(&rules, asked);
                proptest::prop_assert_eq!(found, expected, "{:?} {}", asked, slice);
            }
            Ok(())
        });
    run.unwrap();
}

#[test]
fn the_crate_decides_as_the_reference_does() {
    let run = runner().run(&random::policy_and_requests(REQUESTS), |(rules, requests)| {
        let slice = random::slice(&rules).to_string();
        let policy = Policy::compile(Slice::from_json(slice.as_bytes()).unwrap());
        for request in &requests {
            let expected = reference::decide(&rules, request);
            proptest::prop_assert_eq!(
                decide(&policy, request),
                expected,
                "{:?} {}",
                request,
                slice
            );
        }
        Ok(())
    });
    run.unwrap();
}
