//! Conditions on the claims of a JWT that a real Envoy has verified, and the same questions to the command line.

use e2e::{
    Launch, Programs, Stage, Workload,
    jwt::JwtIssuer,
    wire::{Answer, Caller, Ingress, Lines, Protocol},
};
use serde_json::{Value, json};

const POLICY: &str = "
version: 1
trust_domain: example.org
workloads: { client: /ns/client-ns/sa/client, api: /ns/api-ns/sa/api }
http:
  - { name: which-policy, from: ['**'], to: [api], methods: [GET], paths: [/which-policy/jwt] }
  - { name: staff, from: [client], to: [api], paths: [/staff], jwt: { groups: [staff, admins] }, db_role: staff_reader }
  - { name: anonymous, from: [client], to: [api], paths: [/anonymous], jwt: { sub: { absent: true } } }
  - { name: roles, from: [client], to: [api], paths: [/roles], jwt: { realm_access.roles: [user, owner] } }
  - { name: url, from: [client], to: [api], paths: [/url], jwt: { 'https://example\\.org/tier': gold } }
  - { name: signed, from: [client], to: [api], paths: [/signed], jwt: { sub: { present: true } } }
  - { name: no-robots, effect: deny, from: ['**'], to: [api], paths: [/signed], jwt: { realm_access.roles: robot } }
";

/// What is asked, the claims of the token if there is one, and the rule that decides: an allow, a deny, or none.
fn cases() -> Vec<(&'static str, Option<Value>, &'static str)> {
    let roles = |roles: Value| Some(json!({ "sub": "s", "realm_access": { "roles": roles } }));
    vec![
        // A string
        ("/staff", Some(json!({ "groups": "staff" })), "allow staff"),
        ("/staff", Some(json!({ "groups": "admins" })), "allow staff"),
        ("/staff", Some(json!({ "groups": "staffs" })), "deny"),
        ("/staff", Some(json!({ "groups": "" })), "deny"),
        ("/staff", Some(json!({ "sub": "staff" })), "deny"),
        ("/staff", None, "deny"),
        // A list: in an allow each value counts
        ("/staff", Some(json!({ "groups": ["staff"] })), "allow staff"),
        ("/staff", Some(json!({ "groups": ["admins", "staff"] })), "allow staff"),
        ("/staff", Some(json!({ "groups": ["staff", "guests"] })), "deny"),
        ("/staff", Some(json!({ "groups": ["guests", "staff"] })), "deny"),
        // Absent
        ("/anonymous", None, "allow anonymous"),
        ("/anonymous", Some(json!({ "groups": "staff" })), "allow anonymous"),
        ("/anonymous", Some(json!({ "sub": "s" })), "deny"),
        ("/anonymous", Some(json!({ "sub": "" })), "deny"),
        // A key inside another, and one with a dot of its own
        ("/roles", roles(json!("user")), "allow roles"),
        ("/roles", roles(json!(["user", "owner"])), "allow roles"),
        ("/roles", roles(json!(["user", "robot"])), "deny"),
        ("/roles", Some(json!({ "realm_access": "user" })), "deny"),
        ("/roles", Some(json!({ "realm_access.roles": "user" })), "deny"),
        ("/url", Some(json!({ "https://example.org/tier": "gold" })), "allow url"),
        ("/url", Some(json!({ "https://example": { "org/tier": "gold" } })), "deny"),
        // In a deny one value suffices
        ("/signed", Some(json!({ "sub": "s" })), "allow signed"),
        ("/signed", roles(json!("user")), "allow signed"),
        ("/signed", roles(json!("robot")), "deny no-robots"),
        ("/signed", roles(json!(["user", "robot"])), "deny no-robots"),
        ("/signed", roles(json!(["robots"])), "allow signed"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_decide_in_envoy_as_on_the_command_line() {
    let issuer = JwtIssuer::new().unwrap();
    let ingress = Ingress::start(POLICY, |bootstrap| issuer.verify_in(bootstrap)).await.unwrap();
    let cases = cases();
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut caller = ingress.caller(Some(&Workload::Client.spiffe_id()), protocol).unwrap();
        caller.sees_policy("GET", "jwt").await.unwrap();
        for (path, claims, expected) in &cases {
            let token = claims.as_ref().map(|claims| issuer.sign(claims).unwrap());
            let told = ask(&mut caller, path, token.as_deref()).await;
            assert_eq!(told, *expected, "{protocol:?} {path} {claims:?}");
        }
    }
    for ((path, claims, expected), told) in cases.iter().zip(decided(&cases)) {
        assert_eq!(told, *expected, "signet policy decide: {path} {claims:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_the_issuers_gets_nowhere() {
    let issuer = JwtIssuer::new().unwrap();
    let ingress = Ingress::start(POLICY, |bootstrap| issuer.verify_in(bootstrap)).await.unwrap();
    let client = Workload::Client.spiffe_id();
    let mut caller = ingress.caller(Some(&client), Protocol::H1).unwrap();
    caller.sees_policy("GET", "jwt").await.unwrap();
    let claims = json!({ "sub": "s", "groups": "staff" });
    let good = issuer.sign(&claims).unwrap();
    assert_eq!(ask(&mut caller, "/staff", Some(&good)).await, "allow staff");
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = signed.split_once('.').unwrap();
    let other_claims = issuer.sign(&json!({ "sub": "s", "groups": "admins" })).unwrap();
    let other_payload = other_claims.split('.').nth(1).unwrap();
    for (what, token) in [
        ("another key", JwtIssuer::new().unwrap().sign(&claims).unwrap()),
        ("another payload", format!("{header}.{other_payload}.{signature}")),
        ("no signature", format!("{signed}.")),
        (
            "expired",
            issuer.sign(&json!({ "sub": "s", "groups": "staff", "exp": 1_000_000 })).unwrap(),
        ),
        ("another issuer", issuer.sign(&json!({ "iss": "x", "groups": "staff" })).unwrap()),
        ("no token", "staff".to_owned()),
    ] {
        assert_eq!(ask(&mut caller, "/staff", Some(&token)).await, "401", "{what}");
        // Not even where no token would do.
        assert_eq!(ask(&mut caller, "/anonymous", Some(&token)).await, "401", "{what}");
    }
}

/// What Envoy makes of a request: `allow RULE`, `deny RULE`, `deny`, or its own status.
async fn ask(caller: &mut Caller, path: &str, token: Option<&str>) -> String {
    let mut lines: Lines =
        [(":method", "GET"), (":scheme", "https"), (":path", path), (":authority", "api")]
            .map(|(name, value)| (name.into(), value.into()))
            .into();
    let token = token.map(|token| format!("Bearer {token}"));
    lines.extend(token.map(|token| (b"authorization".to_vec(), token.into_bytes())));
    match caller.ask(&lines).await.unwrap() {
        Answer::Forwarded(seen) => format!("allow {}", seen.values("x-signet-rule").join(",")),
        Answer::Stopped { status: 403, body, .. } => {
            let body: Value = serde_json::from_str(&body).unwrap();
            body["rule"].as_str().map_or("deny".to_owned(), |rule| format!("deny {rule}"))
        }
        Answer::Stopped { status, .. } => status.to_string(),
        Answer::Closed => "closed".to_owned(),
    }
}

/// The same questions to `signet policy decide`.
fn decided(cases: &[(&str, Option<Value>, &str)]) -> Vec<String> {
    let stage = Stage::set(None).unwrap();
    let directory = stage.directory("cases", &stage.accounts.harness).unwrap();
    let (policy, batch) = (directory.join("policy.yaml"), directory.join("cases.jsonl"));
    std::fs::write(&policy, POLICY).unwrap();
    let lines = cases.iter().map(|(path, claims, _)| {
        let request = format!("GET {path}");
        let mut case = json!({ "from": "client", "to": "api", "request": request });
        if let Some(claims) = claims {
            let mut named = serde_json::Map::new();
            name_claims(&mut named, "", claims);
            case["jwt"] = named.into();
        }
        case.to_string() + "\n"
    });
    std::fs::write(&batch, lines.collect::<String>()).unwrap();
    let program = Programs::locate().unwrap().own("signet").unwrap();
    let output = Launch::new("signet", program, &stage.accounts.harness)
        .args(["policy", "decide"])
        .arg(&policy)
        .arg("--batch")
        .arg(&batch)
        .output()
        .unwrap();
    let told = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        match (line["decision"].as_str().unwrap(), line["rule"].as_str()) {
            (decision, Some(rule)) => format!("{decision} {rule}"),
            (decision, None) => decision.to_owned(),
        }
    };
    output.lines().map(told).collect()
}

/// Claims by the names that the policy has for them.
fn name_claims(named: &mut serde_json::Map<String, Value>, outer: &str, claims: &Value) {
    for (key, value) in claims.as_object().unwrap() {
        let name = format!("{outer}{}", key.replace('.', "\\."));
        if value.is_object() {
            name_claims(named, &format!("{name}."), value);
        } else {
            named.insert(name, value.clone());
        }
    }
}
