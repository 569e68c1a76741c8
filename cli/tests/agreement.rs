//! The crate that the filters are built from, and the filters as they are built, decide alike.
//!
//! Many cases go through both `.wasm` by `signet policy explain --batch`, which fails where its own
//! explanation disagrees; and each is decided here too.

use std::fmt::Write as _;
use std::process::Command;

use serde_json::{Value, json};
use signet_policy::{Claim, Header, HttpRequest, Parameter, Policy, SpiffeId, StartupRequest};
use signet_policy_document::{Ask, Case, PolicyDocument};

const POLICY: &str = "
version: 1
trust_domain: example.org
trust_domain_aliases: [old.example.org]
workloads: { client: /ns/a/sa/client, api: /ns/b/sa/api, db: /ns/c/sa/db }
http:
  - { name: literal, from: [client], to: [api], methods: [GET], paths: [/a, /a/b, '/a b', /é], db_role: literal }
  - { name: capture, from: [client], to: [api], paths: ['/a/{id}', '/a/{id}/c'], db_role: capture }
  - { name: rest, from: [/ns/a/**], to: [api], paths: [/a/**], db_role: rest }
  - { name: root, from: ['**'], to: [api], methods: [GET, HEAD], paths: [/] }
  - { name: any, from: ['spiffe://other.org/*/**'], to: [api] }
  - { name: secret, effect: deny, from: ['**'], to: [api], paths: [/a/secret/**] }
  - { name: star, from: [client], to: [api], methods: [OPTIONS], paths: ['*'] }
  - { name: host, from: [client], to: [api], paths: [/h], hosts: [api.example.org, '*.shop.org'], db_role: host }
  - { name: tenant, from: [client], to: [api], paths: [/t], headers: { x-tenant: [acme, umbrella] } }
  - { name: debug, effect: deny, from: [client], to: [api], headers: { x-debug: '1' } }
  - { name: chat, from: [client], to: [api], paths: [/chat], upgrades: [websocket] }
  - { name: staff, from: [client], to: [api], paths: [/j], jwt: { groups: [staff, admins], sub: { present: true } }, db_role: staff }
  - { name: anonymous, from: [client], to: [api], paths: [/j], jwt: { sub: { absent: true } } }
  - { name: robots, effect: deny, from: ['**'], to: [api], paths: [/j], jwt: { realm_access.roles: robot } }
  - { name: port, from: [client], to: [api], paths: [/p], ports: [8443] }
  - { name: shadow, mode: shadow, from: ['**'], to: [api], methods: [DELETE] }
postgres:
  - { name: api-any, from: [api], to: [db], databases: ['*'], login_role: api_any, may_act_as: [reader] }
  - { name: api-one, from: [api], to: [db], databases: [one], login_role: api_one, may_act_as: [reader, writer], client_parameters: [search_path] }
  - { name: client, from: [client], to: [db], databases: [one, two], login_role: reader, replication: true, settings: { lock_timeout: 1s } }
  - { name: others, from: ['**'], to: [db], databases: [public], login_role: guest }
";

const CALLERS: [&str; 6] = [
    "client",
    "api",
    "/ns/a/sa/client2",
    "spiffe://old.example.org/ns/a/sa/client",
    "spiffe://other.org/x/y",
    "spiffe://other.org/x",
];

const REQUESTS: [&str; 63] = [
    "GET /",
    "HEAD /",
    "POST /",
    "GET /?x=1",
    "GET /a",
    "GET /a/",
    "GET /a?b=//..",
    "HEAD /a",
    "get /a",
    "GET /A",
    "GET /a/b",
    "GET /a/b/",
    "POST /a/b",
    "GET /a/x",
    "GET /a/x/c",
    "GET /a/x/c/d",
    "GET /a/secret",
    "GET /a/secret/",
    "GET /a/secret/x",
    "GET /a/secrets",
    "GET /a%20b",
    "GET /%C3%A9",
    "GET /é",
    "DELETE /a",
    "DELETE /x",
    "OPTIONS *",
    "OPTIONS /",
    "GET *",
    "GET /h",
    "GET /t",
    "GET /j",
    "GET /chat",
    "GET /p",
    "GET /a/../a",
    "GET /a/./b",
    "GET //a",
    "GET /a//b",
    "GET /a/%2e%2e/a",
    "GET /%61",
    "GET /a%2fb",
    "GET /a%5cb",
    "GET /a\\b",
    "GET /a;x",
    "GET /a%3bx",
    "GET /a%2561",
    "GET /a%25",
    "GET /a%",
    "GET /a%zz",
    "GET /a%00",
    "GET /a%ff",
    "GET /a#x",
    "GET /a b",
    "GET a",
    "GET http://h/a",
    "GET /..",
    "GET /a/..;/b",
    "GET /a%c0%af",
    "CONNECT api:443",
    "CONNECT /a",
    "GET /a%23",
    "GET /a%3f",
    "PURGE /a",
    "GET /\u{1}",
];

/// What else a request may have.
fn variants() -> [Value; 16] {
    [
        json!({}),
        json!({ "host": "api.example.org" }),
        json!({ "host": "A.Shop.org.:443" }),
        json!({ "host": "user@api.example.org" }),
        json!({ "headers": { "x-tenant": "acme" } }),
        json!({ "headers": { "x-tenant": ["acme", "evil"] } }),
        json!({ "headers": { "x-debug": ["0", "1"] } }),
        json!({ "headers": { "x-rewrite-url": "/a" } }),
        json!({ "headers": { "x_http_method": "GET" } }),
        json!({ "upgrade": "websocket" }),
        json!({ "jwt": { "sub": "s", "groups": "staff" } }),
        json!({ "jwt": { "sub": "s", "groups": ["staff", "admins"] } }),
        json!({ "jwt": { "sub": "s", "groups": ["staff", "others"] } }),
        json!({ "jwt": { "sub": "s", "groups": "staff", "realm_access.roles": ["user", "robot"] } }),
        json!({ "upgrade": "h2c", "port": 8443 }),
        json!({ "port": 8443 }),
    ]
}

fn http_cases() -> Vec<Value> {
    let mut cases = Vec::new();
    for from in CALLERS {
        for request in REQUESTS {
            for variant in variants() {
                let mut case = json!({ "from": from, "to": "api", "request": request });
                case.as_object_mut().unwrap().extend(variant.as_object().unwrap().clone());
                cases.push(case);
            }
        }
    }
    cases
}

fn postgres_cases() -> Vec<Value> {
    let long = "x".repeat(64);
    let parameters = [
        json!({}),
        json!({ "application_name": "a", "TimeZone": "UTC" }),
        json!({ "search_path": "x" }),
        json!({ "options": "-c search_path=x" }),
        json!({ "options": "-c role=postgres" }),
        json!({ "options": "--statement-timeout=5s" }),
        json!({ "options": "-d 5" }),
        json!({ "replication": "database" }),
        json!({ "user": "reader" }),
        json!({ "database": "one" }),
        json!({ "ROLE": "postgres" }),
        json!({ "signet.rule": "forged", "_pq_.x": "1" }),
    ];
    let mut cases = Vec::new();
    for from in CALLERS {
        for database in ["one", "two", "public", "*", "One", &long] {
            for user in ["api_one", "api_any", "reader", "postgres", "none", &long] {
                for parameters in &parameters {
                    cases.push(json!({
                        "from": from, "to": "db", "database": database, "user": user, "parameters": parameters,
                    }));
                }
            }
        }
    }
    cases
}

/// Decisions of the built filters, explained, a line for each case.
fn through_the_filters(cases: &[Value]) -> Vec<Value> {
    let directory = tempfile::tempdir().unwrap();
    let [policy, batch] = ["policy.yaml", "cases.jsonl"].map(|name| directory.path().join(name));
    let mut lines = String::new();
    for case in cases {
        writeln!(lines, "{case}").unwrap();
    }
    std::fs::write(&policy, POLICY).unwrap();
    std::fs::write(&batch, lines).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_signet"))
        .args(["policy", "explain"])
        .arg(policy)
        .arg("--batch")
        .arg(batch)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{}",
        text.lines().find(|line| line.contains("error")).unwrap_or_default()
    );
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The decision of this build of the crate: verdict, rule, reason, role.
fn natively(document: &PolicyDocument, case: &Case) -> [Value; 4] {
    let policy = Policy::compile(document.slice_for(SpiffeId::parse(&case.to).unwrap()));
    let from = Ok(SpiffeId::parse(&case.from).unwrap());
    match &case.ask {
        Ask::Http(ask) => {
            let lines = ask.header_lines();
            let headers: Vec<Header<'_>> =
                lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
            let claims: Vec<Claim<'_>> =
                ask.claims.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
            let decision = policy.decide_http(
                from,
                &HttpRequest { headers: &headers, port: ask.port, claims: &claims },
            );
            let role = match decision {
                signet_policy::HttpDecision::Allow { db_role, .. } => db_role,
                _ => None,
            };
            [
                json!(decision.verdict()),
                json!(decision.rule()),
                json!(decision.reason()),
                json!(role),
            ]
        }
        Ask::Postgres(ask) => {
            let user = ask.user.as_deref().unwrap();
            let mut parameters: Vec<Parameter<'_>> =
                vec![(b"user", user.as_bytes()), (b"database", ask.database.as_bytes())];
            parameters.extend(
                ask.parameters.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())),
            );
            let options =
                ask.parameters.iter().find(|(name, _)| name == "options").map(|(_, value)| value);
            let settings = pgwire::parse_options(options.map_or(b"", |value| value.as_bytes()));
            let Ok(settings) = settings else {
                return [json!("refuse"), Value::Null, json!("options_switch"), Value::Null];
            };
            let options: Vec<Parameter<'_>> = settings
                .iter()
                .map(|setting| (setting.name.as_slice(), setting.value.as_slice()))
                .collect();
            let request = StartupRequest { parameters: &parameters, options: &options };
            let decision = policy.decide_postgres(from, &request);
            [
                json!(decision.verdict()),
                json!(decision.rule()),
                json!(decision.reason()),
                json!(decision.role()),
            ]
        }
    }
}

#[test]
fn the_filters_decide_as_the_crate_does() {
    let document = PolicyDocument::parse("policy.yaml", POLICY).unwrap_or_else(|faults| {
        panic!("{:?}", faults.lines().collect::<Vec<_>>());
    });
    let cases: Vec<Value> = http_cases().into_iter().chain(postgres_cases()).collect();
    let found = through_the_filters(&cases);
    assert_eq!(found.len(), cases.len());
    let mut verdicts = std::collections::BTreeMap::<String, usize>::new();
    for (line, found) in cases.iter().zip(&found) {
        let case = document.parse_case("case", &line.to_string()).unwrap();
        let role = if line.get("request").is_some() { "db_role" } else { "role" };
        let filters = ["decision", "rule", "reason", role].map(|key| found[key].clone());
        assert_eq!(filters, natively(&document, &case), "{line}");
        *verdicts.entry(filters[0].to_string()).or_default() += 1;
    }
    // Each verdict is well represented: the cases test what they are meant to.
    assert!(verdicts.len() == 3 && verdicts.values().all(|count| *count > 200), "{verdicts:?}");
}
