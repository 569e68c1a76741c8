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

/// How many policies, if nobody says otherwise.
fn policies(default: u32) -> u32 {
    let wanted = std::env::var("SIGNET_DIFFERENTIAL_POLICIES");
    wanted.ok().and_then(|count| count.parse().ok()).unwrap_or(default)
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

fn lines(request: &Request) -> Lines {
    let pseudo = [
        (":method", &request.method),
        (":path", &request.path),
        (":scheme", &"https".to_owned()),
        (":authority", &request.authority),
    ]
    .map(|(name, value)| (name.into(), value.clone().into()));
    let headers =
        request.headers.iter().map(|(name, value)| (name.clone().into(), value.clone().into()));
    pseudo.into_iter().chain(headers).collect()
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
    let peer = format!("{}|{}", u64::MAX, request.from).into_bytes();
    let mut asked =
        HttpRequest { peer: Some(peer), headers: lines(request), ..HttpRequest::default() };
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
    let ingress =
        Ingress::start(&random::document(&[], 0), |bootstrap| issuer.verify_in(bootstrap))
            .await
            .unwrap();
    let mut callers: Vec<[Caller; 2]> = random::CALLERS
        .iter()
        .map(|id| {
            [Protocol::H1, Protocol::H2].map(|protocol| ingress.caller(Some(id), protocol).unwrap())
        })
        .collect();
    let mut forwarded = 0;
    let wanted = policies(12) as usize;
    for generation in 1..=wanted + MORE {
        // A mesh that forwards nothing would agree too often.
        if generation > wanted && forwarded > 20 {
            break;
        }
        let (mut rules, requests) =
            random::policy_and_requests(REQUESTS).new_tree(&mut runner).unwrap().current();
        random::spare_the_marker(&mut rules);
        ingress.write_policy(&random::document(&rules, generation)).unwrap();
        for caller in &mut callers {
            caller[generation % 2].sees_policy("DELETE", &generation.to_string()).await.unwrap();
        }
        for request in &requests {
            let caller = random::CALLERS.iter().position(|id| *id == request.from).unwrap();
            let mut lines = lines(request);
            if !request.claims.is_empty() {
                let token = issuer.sign(&random::payload(request)).unwrap();
                lines.push((b"authorization".to_vec(), format!("Bearer {token}").into_bytes()));
            }
            let answer = callers[caller][generation % 2].ask(&lines).await.unwrap();
            forwarded += usize::from(matches!(answer, Answer::Forwarded(_)));
            let expected = reference::decide(&rules, request);
            assert!(
                agrees(&answer, &expected, request),
                "{answer:?}\n{expected:?}\n{request:?}\n{}",
                shown(&rules)
            );
        }
    }
    assert!(forwarded > 20, "{forwarded} requests were forwarded");
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
