//! Random policies and requests: the reference evaluator, the filter in wasmtime and Envoy decide alike. `policy/core` compares
//! itself with the same reference, in its own tests.
//!
//! CI takes some policies; `SIGNET_DIFFERENTIAL_POLICIES=250` makes it 10,000 requests for each.

mod postgres;
mod postgres_random;
mod postgres_reference;
mod random;
mod reference;

use e2e::{
    Programs,
    bootstrap::holders,
    jwt::JwtIssuer,
    wire::{Answer, Caller, Ingress, Lines, Protocol},
};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, TestCaseError, TestRunner},
};
use reference::{Decision, Request, Rule};
use serde_json::{Value, json};
use wasm_host::{FilterModule, HttpFilter, HttpOutcome, HttpRequest, Noted};

/// Requests to each policy.
const REQUESTS: usize = 40;

/// Policies past what was asked for, while chance has let too few through to show anything.
const MORE: usize = 100;

/// What each policy is asked by, in turn.
const PROTOCOLS: [Protocol; 2] = [Protocol::H1, Protocol::H2];

/// How many policies, if nobody says otherwise.
fn policies(default: u32) -> u32 {
    let wanted = std::env::var("SIGNET_DIFFERENTIAL_POLICIES");
    wanted.ok().and_then(|count| count.parse().ok()).unwrap_or(default)
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

/// The request as it is sent. The filter sees what HTTP/1.1 has: there an extended CONNECT is a GET with an `Upgrade`.
fn lines(request: &Request, protocol: Protocol) -> Lines {
    let upgrade = request.upgrade.as_deref();
    let (method, upgrade) = match (protocol, upgrade) {
        (_, None) => (request.method.as_str(), vec![]),
        (Protocol::H1, Some(to)) => {
            (request.method.as_str(), vec![("connection", "upgrade"), ("upgrade", to)])
        }
        (Protocol::H2, Some(to)) => ("CONNECT", vec![(":protocol", to)]),
    };
    let pseudo = [
        (":method", method),
        (":path", &request.path),
        (":scheme", "https"),
        (":authority", &request.authority),
    ];
    let headers = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let all = pseudo.into_iter().chain(upgrade).chain(headers);
    all.map(|(name, value)| (name.into(), value.into())).collect()
}

/// Lets the filter see every upgrade that is asked for.
fn pass_upgrades(configuration: &mut Value) {
    holders(configuration, "upgrade_configs", &mut |manager| {
        let types = random::UPGRADES.map(|protocol| json!({ "upgrade_type": protocol }));
        manager["upgrade_configs"] = json!(types);
    });
}

#[test]
fn the_filter_in_wasmtime_decides_as_the_reference_does() {
    let file = Programs::locate().unwrap().filter("spiffe_authz").unwrap();
    let module = FilterModule::load(&file).unwrap();
    let run =
        runner(policies(60)).run(&random::policy_and_requests(REQUESTS), |(rules, requests)| {
            let slice = random::slice(&rules).to_string();
            let failed = |error| TestCaseError::fail(format!("{error}: {slice}"));
            let mut filter = HttpFilter::start(&module, slice.as_bytes()).map_err(failed)?;
            for request in &requests {
                let found = in_wasmtime(&mut filter, request);
                proptest::prop_assert_eq!(
                    found,
                    reference::decide(&rules, request),
                    "{:?} {}",
                    request,
                    slice
                );
            }
            Ok(())
        });
    run.unwrap();
}

fn in_wasmtime(filter: &mut HttpFilter, request: &Request) -> Decision {
    let peer = match request.from.as_str() {
        "" => "-|-".to_owned(),
        from => format!("{}|{from}", u64::MAX),
    };
    let port = u64::from(request.port).to_le_bytes().to_vec();
    let mut asked = HttpRequest {
        peer: Some(peer.into()),
        headers: lines(request, Protocol::H1),
        properties: [(b"destination\0port".to_vec(), port)].into(),
        ..HttpRequest::default()
    };
    if !request.claims.is_empty() {
        let verified = json!({ "jwt_payload": random::payload(request) });
        asked.metadata.insert("envoy.filters.http.jwt_authn".to_owned(), verified);
    }
    let exchange = filter.exchange(&asked).unwrap();
    let noted = Noted::read(&exchange.filter_state);
    let verdict = match noted.verdict.as_str() {
        "allow" => "allow",
        "deny" => "deny",
        "refuse" => "refuse",
        other => panic!("{other:?}"),
    };
    let forwarded = matches!(exchange.outcome, HttpOutcome::Forwarded { .. });
    assert_eq!(forwarded, verdict == "allow");
    Decision { verdict, rule: noted.rule, db_role: noted.role }
}

/// Each policy through one protocol, in turn.
#[tokio::test(flavor = "multi_thread")]
async fn envoy_decides_as_the_reference_does() {
    let mut runner = runner(1);
    let issuer = JwtIssuer::new().unwrap();
    let ingress = Ingress::start(&random::document(&[], 0), |bootstrap| {
        issuer.verify_in(bootstrap);
        pass_upgrades(bootstrap);
    })
    .await
    .unwrap();
    let mut callers: Vec<[Caller; 2]> = random::CALLERS
        .iter()
        .map(|id| {
            let sans = (!id.is_empty()).then_some(*id);
            PROTOCOLS.map(|protocol| ingress.caller(sans, protocol).unwrap())
        })
        .collect();
    let mut forwarded = 0;
    let mut upgraded = 0;
    let wanted = policies(12) as usize;
    for generation in 1..=wanted + MORE {
        // A mesh that forwards nothing would agree too often.
        if generation > wanted && forwarded > 20 && upgraded > 0 {
            break;
        }
        let (mut rules, mut requests) =
            random::policy_and_requests(REQUESTS).new_tree(&mut runner).unwrap().current();
        random::spare_the_marker(&mut rules);
        random::at_port(&mut rules, &mut requests, ingress.port());
        ingress.write_policy(&random::document(&rules, generation)).unwrap();
        // Nobody reaches no rule, the one that tells what is in force neither.
        let somebody = |id: &&str| !id.is_empty() && !id.contains(',');
        for (_, caller) in random::CALLERS.iter().zip(&mut callers).filter(|(id, _)| somebody(id)) {
            caller[generation % 2].sees_policy("DELETE", &generation.to_string()).await.unwrap();
        }
        for request in &requests {
            let caller = random::CALLERS.iter().position(|id| *id == request.from).unwrap();
            let mut lines = lines(request, PROTOCOLS[generation % 2]);
            if !request.claims.is_empty() {
                let token = issuer.sign(&random::payload(request)).unwrap();
                lines.push((b"authorization".to_vec(), format!("Bearer {token}").into_bytes()));
            }
            let answer = callers[caller][generation % 2].ask(&lines).await.unwrap();
            let passed = usize::from(matches!(answer, Answer::Forwarded(_)));
            forwarded += passed;
            upgraded += passed * usize::from(request.upgrade.is_some());
            let expected = reference::decide(&rules, request);
            assert!(
                agrees(&answer, &expected, request),
                "{answer:?}\n{expected:?}\n{request:?}\n{}",
                shown(&rules)
            );
        }
    }
    assert!(forwarded > 20 && upgraded > 0, "{forwarded} were forwarded, {upgraded} upgraded");
}

fn shown(rules: &[Rule]) -> String {
    random::slice(rules).to_string()
}

/// Forwarded or not, by which rule, with which role. What Envoy itself stops must not be allowed; only `*` has no route.
fn agrees(answer: &Answer, expected: &Decision, request: &Request) -> bool {
    match answer {
        Answer::Forwarded(seen) => {
            let told = |name: &str| seen.values(name).first().cloned();
            let found = Decision {
                verdict: "allow",
                rule: told("x-signet-rule"),
                db_role: told("x-db-role"),
            };
            found == *expected
        }
        Answer::Stopped { status, body, .. } => {
            let body: Value = serde_json::from_str(body).unwrap_or_default();
            match (status, body.is_null()) {
                (403, false) => {
                    expected.verdict == "deny" && body["rule"].as_str() == expected.rule.as_deref()
                }
                (400, false) => expected.verdict == "refuse",
                _ => expected.verdict != "allow" || request.path == "*",
            }
        }
        Answer::Closed => expected.verdict != "allow",
    }
}
