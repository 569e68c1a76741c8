use serde_json::{Value, json};

use crate::{Claim, Header, HttpDecision, HttpRequest, NoIdentity, Policy, Slice, SpiffeId};

const CLIENT: &str = "spiffe://example.org/ns/client-ns/sa/client";

/// A policy of these HTTP rules.
fn policy(rules: Value) -> Policy {
    let slice =
        json!({ "format": 1, "workload": "spiffe://example.org/ns/api-ns/sa/api", "http": rules });
    Policy::compile(Slice::from_json(slice.to_string().as_bytes()).unwrap())
}

/// A rule that lets the client ask for anything, with these keys changed.
fn allow(name: &str, changes: Value) -> Value {
    let mut rule = json!({ "name": name, "from": [CLIENT] });
    rule.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    rule
}

fn deny(name: &str, changes: Value) -> Value {
    let mut rule = allow(name, changes);
    rule["effect"] = json!("deny");
    rule
}

/// Decides `METHOD PATH` with more headers, and tells the decision as `verdict rule-or-reason role`.
fn decide(policy: &Policy, from: &str, request: &str, more: &[(&str, &str)]) -> String {
    let (method, path) = request.split_once(' ').unwrap();
    let mut headers: Vec<Header<'_>> = vec![(b":method", method.as_bytes())];
    if !path.is_empty() {
        headers.push((b":path", path.as_bytes()));
    }
    headers.extend(more.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    let peer = SpiffeId::parse(from).map_err(|_| NoIdentity::InvalidSpiffeId);
    let decision =
        policy.decide_http(peer, &HttpRequest { headers: &headers, ..Default::default() });
    tell(decision)
}

fn tell(decision: HttpDecision<'_>) -> String {
    let why = decision.rule().unwrap_or(decision.reason());
    match decision {
        HttpDecision::Allow { db_role: Some(role), .. } => format!("allow {why} {role}"),
        _ => format!("{} {why}", decision.verdict()),
    }
}

/// One case: who asks, what, with which headers, and what is decided.
type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str);

fn check(policy: &Policy, cases: &[Case<'_>]) {
    for (from, request, headers, expected) in cases {
        assert_eq!(
            decide(policy, from, request, headers),
            *expected,
            "{from} {request} {headers:?}"
        );
    }
}

#[test]
fn default_deny_and_order_of_reasons() {
    let policy = policy(json!([
        allow("reads", json!({ "methods": ["GET"], "paths": ["/customers", "/customers/{id}"], "db_role": "reader" })),
        { "name": "no-audit", "effect": "deny", "from": ["**"], "paths": ["/audit/**"], "methods": ["DELETE"] },
    ]));
    check(
        &policy,
        &[
            (CLIENT, "GET /customers", &[], "allow reads reader"),
            (CLIENT, "GET /customers/", &[], "allow reads reader"),
            (CLIENT, "GET /customers/7?x=1", &[], "allow reads reader"),
            (CLIENT, "HEAD /customers", &[], "deny no_rule"),
            (CLIENT, "get /customers", &[], "deny no_rule"),
            (CLIENT, "GET /customers/7/orders", &[], "deny no_rule"),
            (CLIENT, "DELETE /audit/1", &[], "deny no-audit"),
            (CLIENT, "DELETE /audit", &[], "deny no-audit"),
            (CLIENT, "GET /a/../customers", &[], "refuse path_dot_segment"),
            (CLIENT, "OPTIONS *", &[], "deny no_rule"),
            ("spiffe://example.org/ns/client-ns/sa/client2", "GET /customers", &[], "deny no_rule"),
            ("spiffe://example.com/ns/client-ns/sa/client", "GET /customers", &[], "deny no_rule"),
            ("", "GET /customers", &[], "deny invalid_spiffe_id"),
            ("", "DELETE /audit/1", &[], "deny invalid_spiffe_id"),
            ("", "GET //customers", &[], "refuse path_empty_segment"),
        ],
    );
    assert_eq!(decide(&Policy::deny_all(), CLIENT, "GET /customers", &[]), "deny no_rule");
}

#[test]
fn deny_beats_every_allow() {
    let policy = policy(json!([
        allow("exact", json!({ "paths": ["/audit/1"], "methods": ["GET"], "hosts": ["api"] })),
        deny("broad", json!({ "from": ["**"], "paths": ["/audit/**"] })),
        deny("narrow", json!({ "paths": ["/audit/1"] })),
        allow("rest", json!({})),
    ]));
    check(
        &policy,
        &[
            (CLIENT, "GET /audit/1", &[(":authority", "api")], "deny narrow"),
            (CLIENT, "GET /audit/2", &[], "deny broad"),
            (CLIENT, "GET /other", &[], "allow rest"),
            (CLIENT, "OPTIONS *", &[], "allow rest"),
        ],
    );
}

#[test]
fn weight_picks_the_allow() {
    // Each is heavier than all that follow it.
    let rules = [
        allow("a-literal", json!({ "paths": ["/x/y"], "from": ["**"] })),
        allow("b-one-from", json!({ "paths": ["/x/*"], "hosts": ["h"] })),
        allow(
            "c-one-wild-from",
            json!({ "paths": ["/x/*"], "from": ["spiffe://example.org/**"], "hosts": ["a.h"] }),
        ),
        allow("d-rest-host", json!({ "paths": ["/x/**"], "hosts": ["a.h"] })),
        allow(
            "e-rest-wild-host",
            json!({ "paths": ["/x/**"], "hosts": ["*.h"], "methods": ["GET"] }),
        ),
        allow("f-rest-method", json!({ "paths": ["/x/**"], "methods": ["GET"] })),
        allow("g-rest-header", json!({ "paths": ["/x/**"], "headers": { "x": "present" } })),
        allow("h-rest", json!({ "paths": ["/x/**"] })),
        allow("i-all-paths", json!({ "paths": ["/**"] })),
        allow("j-absent", json!({})),
        allow("k-any-from", json!({ "from": ["**"] })),
    ];
    for skipped in 0..rules.len() {
        let mut remaining = rules[skipped..].to_vec();
        remaining.reverse();
        let heaviest = rules[skipped]["name"].as_str().unwrap();
        let host = if heaviest.starts_with('b') { "h" } else { "a.h" };
        let headers = [(":authority", host), ("x", "1")];
        let decided = decide(&policy(json!(remaining)), CLIENT, "GET /x/y", &headers);
        assert_eq!(decided, format!("allow {heaviest}"));
    }
}

#[test]
fn the_heaviest_alternative_counts_and_ties_go_to_the_smaller_name() {
    let policy = policy(json!([
        allow("wide", json!({ "paths": ["/**"], "db_role": "wide" })),
        allow("both", json!({ "paths": ["/**", "/x"], "from": ["**", CLIENT], "db_role": "both" })),
        allow("tie-b", json!({ "paths": ["/t"] })),
        allow("tie-a", json!({ "paths": ["/t"] })),
    ]));
    check(
        &policy,
        &[
            (CLIENT, "GET /x", &[], "allow both both"),
            (CLIENT, "GET /t", &[], "allow tie-a"),
            ("spiffe://other/y", "GET /y", &[], "allow both both"),
        ],
    );
}

#[test]
fn hosts() {
    let policy = policy(json!([
        allow("exact", json!({ "hosts": ["api.example.org"] })),
        allow("wildcard", json!({ "hosts": ["*.shop.org"] })),
        deny("secret", json!({ "hosts": ["secret.shop.org"] })),
    ]));
    check(
        &policy,
        &[
            (CLIENT, "GET /", &[(":authority", "API.example.org.:8443")], "allow exact"),
            (CLIENT, "GET /", &[(":authority", "a.b.shop.org")], "allow wildcard"),
            (CLIENT, "GET /", &[(":authority", "shop.org")], "deny no_rule"),
            (CLIENT, "GET /", &[(":authority", "Secret.shop.org:1")], "deny secret"),
            (CLIENT, "GET /", &[], "deny secret"),
            (CLIENT, "GET /", &[(":authority", "u@api.example.org")], "refuse authority"),
        ],
    );
}

#[test]
fn a_repeated_header_never_widens_an_allow_nor_escapes_a_deny() {
    let policy = policy(json!([
        allow("acme", json!({ "headers": { "x-tenant": { "equals": ["acme", "umbrella"] } } })),
        allow("anonymous", json!({ "headers": { "x-tenant": "absent" }, "paths": ["/public"] })),
        deny("debug", json!({ "headers": { "x-mode": { "equals": ["debug"] } } })),
        deny("unsigned", json!({ "headers": { "x-signature": "absent" }, "paths": ["/signed"] })),
    ]));
    check(
        &policy,
        &[
            (CLIENT, "GET /", &[("x-tenant", "acme")], "allow acme"),
            (CLIENT, "GET /", &[("x-tenant", "acme"), ("x-tenant", "umbrella")], "allow acme"),
            (CLIENT, "GET /", &[("x-tenant", "acme"), ("x-tenant", "evil")], "deny no_rule"),
            (CLIENT, "GET /", &[("x-tenant", "acme"), ("X-Tenant", "evil")], "deny no_rule"),
            (CLIENT, "GET /", &[("x-tenant", "Acme")], "deny no_rule"),
            (CLIENT, "GET /", &[], "deny no_rule"),
            (CLIENT, "GET /public", &[], "allow anonymous"),
            (CLIENT, "GET /public", &[("x-tenant", "")], "deny no_rule"),
            (
                CLIENT,
                "GET /",
                &[("x-tenant", "acme"), ("x-mode", "plain"), ("x-mode", "debug")],
                "deny debug",
            ),
            (CLIENT, "GET /signed", &[("x-tenant", "acme")], "deny unsigned"),
            (CLIENT, "GET /signed", &[("x-tenant", "acme"), ("x-signature", "1")], "allow acme"),
        ],
    );
}

#[test]
fn a_joined_header_escapes_no_deny_and_widens_no_allow() {
    let policy = policy(json!([
        allow("acme", json!({ "headers": { "x-tenant": { "equals": ["acme", "a,b"] } } })),
        deny("debug", json!({ "headers": { "x-mode": { "equals": ["debug"] } } })),
    ]));
    let acme = ("x-tenant", "acme");
    check(
        &policy,
        &[
            (CLIENT, "GET /", &[acme, ("x-mode", "plain, debug")], "deny debug"),
            (CLIENT, "GET /", &[acme, ("x-mode", "debug\t,plain")], "deny debug"),
            (CLIENT, "GET /", &[acme, ("x-mode", "a"), ("x-mode", "b,debug,c")], "deny debug"),
            (CLIENT, "GET /", &[acme, ("x-mode", "debugger,plain")], "allow acme"),
            (CLIENT, "GET /", &[("x-tenant", "acme,acme")], "deny no_rule"),
            (CLIENT, "GET /", &[("x-tenant", "a,b")], "allow acme"),
        ],
    );
}

#[test]
fn claims_of_the_jwt() {
    let policy = policy(json!([
        allow("staff", json!({ "jwt": { "groups": { "equals": ["staff", "admins"] } } })),
        allow("support", json!({ "jwt": { "realm.roles": "present", "groups": "absent" } })),
        deny("robots", json!({ "jwt": { "groups": { "equals": ["robots"] } } })),
        deny("tokenless", json!({ "jwt": { "sub": "absent" }, "paths": ["/own"] })),
    ]));
    let decide = |path: &str, claims: &[(&str, &str)]| {
        let headers: [Header<'_>; 2] = [(b":method", b"GET"), (b":path", path.as_bytes())];
        let claims: Vec<Claim<'_>> =
            claims.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let request = HttpRequest { headers: &headers, claims: &claims, ..Default::default() };
        tell(policy.decide_http(Ok(SpiffeId::parse(CLIENT).unwrap()), &request))
    };
    let (staff, admins) = (("groups", "staff"), ("groups", "admins"));
    assert_eq!(decide("/", &[staff]), "allow staff");
    assert_eq!(decide("/", &[staff, admins]), "allow staff");
    assert_eq!(decide("/", &[staff, ("groups", "others")]), "deny no_rule");
    assert_eq!(decide("/", &[staff, ("groups", "robots")]), "deny robots");
    assert_eq!(decide("/", &[("groups", "staff,robots")]), "deny no_rule");
    assert_eq!(decide("/", &[("Groups", "staff")]), "deny no_rule");
    assert_eq!(decide("/", &[]), "deny no_rule");
    assert_eq!(decide("/", &[("realm.roles", "any")]), "allow support");
    assert_eq!(decide("/own", &[staff]), "deny tokenless");
    assert_eq!(decide("/own", &[staff, ("sub", "")]), "allow staff");
}

#[test]
fn upgrades_only_where_listed() {
    let policy = policy(json!([
        allow("plain", json!({ "paths": ["/plain", "/chat", "/closed"] })),
        allow("chat", json!({ "paths": ["/chat"], "upgrades": ["websocket"] })),
        deny("closed", json!({ "paths": ["/closed"], "upgrades": ["websocket"] })),
    ]));
    let websocket = &[("upgrade", "websocket")][..];
    let extended = &[(":protocol", "websocket")][..];
    check(
        &policy,
        &[
            (CLIENT, "GET /plain", &[], "allow plain"),
            (CLIENT, "GET /plain", websocket, "deny no_rule"),
            (CLIENT, "CONNECT /plain", extended, "deny no_rule"),
            (CLIENT, "GET /chat", &[], "allow chat"),
            (CLIENT, "GET /chat", websocket, "allow chat"),
            (CLIENT, "GET /chat", &[("upgrade", "WebSocket")], "allow chat"),
            (CLIENT, "CONNECT /chat", extended, "allow chat"),
            (CLIENT, "GET /chat", &[("upgrade", "websocket, h2c")], "deny no_rule"),
            (CLIENT, "GET /chat", &[("upgrade", "websocket"), ("upgrade", "h2c")], "deny no_rule"),
            (CLIENT, "GET /chat", &[("upgrade", "")], "deny no_rule"),
            (CLIENT, "GET /closed", &[], "allow plain"),
            (CLIENT, "GET /closed", websocket, "deny closed"),
            (CLIENT, "GET /closed", &[("upgrade", "h2c, websocket")], "deny closed"),
            (CLIENT, "CONNECT /closed", extended, "deny closed"),
        ],
    );
}

#[test]
fn a_plain_connect_is_always_denied() {
    let policy = policy(json!([allow("all", json!({ "from": ["**"], "upgrades": ["connect"] }))]));
    check(
        &policy,
        &[
            (CLIENT, "CONNECT ", &[(":authority", "h:80")], "deny connect"),
            (CLIENT, "CONNECT /a", &[(":authority", "h:80")], "deny connect"),
            (CLIENT, "CONNECT ", &[("upgrade", "connect")], "deny connect"),
            ("", "CONNECT ", &[], "deny invalid_spiffe_id"),
        ],
    );
}

#[test]
fn ports_that_are_not_known_allow_nothing() {
    let policy = policy(json!([
        allow("https", json!({ "ports": [8443] })),
        deny("admin", json!({ "ports": [9000], "paths": ["/admin"] })),
        allow("admin-too", json!({ "paths": ["/admin"] })),
    ]));
    let decide = |path: &str, port| {
        let headers: [Header<'_>; 2] = [(b":method", b"GET"), (b":path", path.as_bytes())];
        tell(policy.decide_http(
            Ok(SpiffeId::parse(CLIENT).unwrap()),
            &HttpRequest { headers: &headers, port, ..Default::default() },
        ))
    };
    assert_eq!(decide("/", Some(8443)), "allow https");
    assert_eq!(decide("/", Some(80)), "deny no_rule");
    assert_eq!(decide("/", None), "deny no_rule");
    assert_eq!(decide("/admin", Some(9000)), "deny admin");
    assert_eq!(decide("/admin", None), "deny admin");
    assert_eq!(decide("/admin", Some(80)), "allow admin-too");
}

#[test]
fn shadow_rules_are_told_and_not_enforced() {
    let policy = policy(json!([
        allow("reads", json!({ "methods": ["GET"] })),
        allow("writes", json!({ "methods": ["POST"], "mode": "shadow", "db_role": "writer" })),
        deny("no-admin", json!({ "paths": ["/admin"], "mode": "shadow" })),
    ]));
    let shadow = |request: &str| {
        let (method, path) = request.split_once(' ').unwrap();
        let headers: [Header<'_>; 2] =
            [(b":method", method.as_bytes()), (b":path", path.as_bytes())];
        let request = HttpRequest { headers: &headers, ..Default::default() };
        policy.shadow_http(Ok(SpiffeId::parse(CLIENT).unwrap()), &request).map(tell)
    };
    check(
        &policy,
        &[
            (CLIENT, "GET /a", &[], "allow reads"),
            (CLIENT, "POST /a", &[], "deny no_rule"),
            (CLIENT, "GET /admin", &[], "allow reads"),
        ],
    );
    assert_eq!(shadow("GET /a"), None);
    assert_eq!(shadow("POST /a").as_deref(), Some("allow writes writer"));
    assert_eq!(shadow("GET /admin").as_deref(), Some("deny no-admin"));
    assert_eq!(shadow("GET //admin"), None);
}
