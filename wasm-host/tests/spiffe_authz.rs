//! `spiffe_authz.wasm`, as built, through its whole life: configurations, decisions, what the API and the caller are told.

mod modules;

use serde_json::json;
use wasm_host::{Exchange, HostError, HttpFilter, HttpOutcome, HttpRequest, LocalResponse, Noted};

const POLICY: &str = r#"{
    "format": 1,
    "workload": "spiffe://example.org/api",
    "http": [
        {"name": "reads", "from": ["spiffe://example.org/client"], "methods": ["GET"], "paths": ["/customers"], "db_role": "customers_reader"},
        {"name": "plain", "from": ["spiffe://example.org/client"], "methods": ["PUT"]},
        {"name": "no-audit", "effect": "deny", "from": ["**"], "paths": ["/audit/**"]},
        {"name": "writes", "mode": "shadow", "from": ["spiffe://example.org/client"], "methods": ["POST"]}
    ]
}"#;
const PEER: &str = "2000000000|spiffe://example.org/client";
const NOW: u64 = 1_900_000_000;

fn start(configuration: &str) -> HttpFilter {
    let mut filter =
        HttpFilter::start(&modules::filter("spiffe_authz.wasm"), configuration.as_bytes()).unwrap();
    filter.set_unix_seconds(NOW);
    filter
}

fn request(peer: Option<&str>, method: &str, path: &str, headers: &[(&str, &str)]) -> HttpRequest {
    let all =
        [(":method", method), (":path", path), (":authority", "api"), ("x-request-id", "id-1")];
    let bytes =
        |(name, value): &(&str, &str)| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    HttpRequest {
        peer: peer.map(|peer| peer.as_bytes().to_vec()),
        headers: all.iter().chain(headers).map(bytes).collect(),
        ..HttpRequest::default()
    }
}

fn ask(
    filter: &mut HttpFilter,
    peer: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Exchange {
    filter.exchange(&request(Some(peer), method, path, headers)).unwrap()
}

fn forwarded(exchange: &Exchange) -> Vec<(&str, &str)> {
    let HttpOutcome::Forwarded { headers, .. } = &exchange.outcome else {
        panic!("not forwarded: {exchange:?}");
    };
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    headers.iter().map(|(name, value)| (text(name), text(value))).collect()
}

fn answered(exchange: &Exchange) -> &LocalResponse {
    let HttpOutcome::Answered(response) = &exchange.outcome else {
        panic!("not answered: {exchange:?}");
    };
    response
}

fn state<'a>(exchange: &'a Exchange, key: &str) -> Option<&'a str> {
    exchange.filter_state.get(key).map(|value| std::str::from_utf8(value).unwrap())
}

#[test]
fn an_allowed_request_tells_the_api_who_and_as_whom() {
    let mut filter = start(POLICY);
    let exchange = ask(&mut filter, PEER, "GET", "/customers?page=2", &[]);
    let headers = forwarded(&exchange);
    assert!(headers.contains(&("x-spiffe-id", "spiffe://example.org/client")));
    assert!(headers.contains(&("x-db-role", "customers_reader")));
    assert!(headers.contains(&("x-signet-rule", "reads")));
    assert!(headers.contains(&(":path", "/customers?page=2")));
    // No more than these two: each costs.
    let noted = [("decision", "allow as customers_reader"), ("rule", "reads")];
    let noted = noted.map(|(key, value)| (format!("wasm.signet.{key}"), value.into()));
    assert_eq!(exchange.filter_state, noted.into());
    assert_eq!(filter.metric("signet_http_allowed").unwrap(), Some(1));
}

#[test]
fn forged_headers_and_trailers_never_arrive() {
    let mut filter = start(POLICY);
    let forged = [
        ("x-spiffe-id", "spiffe://example.org/admin"),
        ("x-spiffe-id", "again"),
        ("x_spiffe_id", "twin"),
        ("x-db-role", "postgres"),
        ("x_db_role", "postgres"),
        ("x_db-role", "postgres"),
        ("x-signet-rule", "any"),
        ("x-envoy-original-path", "/admin"),
        ("x-kept", "yes"),
    ];
    let mut request = request(Some(PEER), "PUT", "/anything", &forged);
    request.trailers = vec![
        (b"x-db-role".to_vec(), b"postgres".to_vec()),
        (b"x_spiffe_id".to_vec(), b"forged".to_vec()),
        (b"grpc-trace".to_vec(), b"kept".to_vec()),
    ];
    let exchange = filter.exchange(&request).unwrap();
    let ours: Vec<_> = forwarded(&exchange)
        .into_iter()
        .filter(|(name, _)| name.starts_with('x') && *name != "x-request-id")
        .collect();
    // The rule has no db_role, so the API is told none.
    assert_eq!(
        ours,
        [
            ("x-kept", "yes"),
            ("x-spiffe-id", "spiffe://example.org/client"),
            ("x-signet-rule", "plain")
        ]
    );
    let HttpOutcome::Forwarded { trailers, .. } = &exchange.outcome else { unreachable!() };
    assert_eq!(*trailers, [(b"grpc-trace".to_vec(), b"kept".to_vec())]);
}

#[test]
fn a_denial_tells_the_class_to_the_caller_and_the_rule_to_the_log() {
    let mut filter = start(POLICY);
    let exchange = ask(&mut filter, PEER, "GET", "/audit/1", &[]);
    let response = answered(&exchange);
    assert_eq!((response.status, response.details.as_str()), (403, "signet.deny.denied_by_rule"));
    assert_eq!(
        String::from_utf8_lossy(&response.body),
        "{\"error\":\"denied\",\"method\":\"GET\",\"path\":\"/audit/1\",\"request_id\":\"id-1\"}\n"
    );
    assert_eq!(
        exchange.logs.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(),
        ["request id-1: GET /audit/1 from spiffe://example.org/client: denied by rule `no-audit`"]
    );
    let noted = Noted::read(&exchange.filter_state);
    assert_eq!((noted.verdict.as_str(), noted.rule.as_deref()), ("deny", Some("no-audit")));

    let forged = [("x-db-role", "postgres"), ("x-signet-rule", "reads")];
    let default = ask(&mut filter, PEER, "DELETE", "/customers", &forged);
    let noted =
        Noted { verdict: "deny".into(), reason: Some("no_rule".into()), ..Noted::default() };
    assert_eq!(
        Noted::read(&default.filter_state),
        noted,
        "what a log prints is never the client's"
    );
    assert_eq!(answered(&default).details, "signet.deny.no_rule");
    assert!(default.logs[0].text.ends_with("no rule allows it"));
    assert_eq!(filter.metric("signet_http_denied").unwrap(), Some(2));
}

#[test]
fn the_caller_learns_the_rule_where_the_policy_says_so() {
    let told = POLICY.replacen('{', r#"{"filter": {"denial_detail": "rule"}, "#, 1);
    let exchange = ask(&mut start(&told), PEER, "GET", "/audit/1", &[]);
    assert!(String::from_utf8_lossy(&answered(&exchange).body).contains(r#""rule":"no-audit""#));
}

#[test]
fn grpc_callers_get_a_grpc_status() {
    let mut filter = start(POLICY);
    let grpc = [("content-type", "application/grpc+proto")];
    let denied = ask(&mut filter, PEER, "POST", "/audit/x", &grpc);
    assert_eq!((answered(&denied).grpc_status, answered(&denied).headers.len()), (Some(7), 0));
    let refused = ask(&mut filter, PEER, "POST", "/a//b", &grpc);
    assert_eq!(answered(&refused).grpc_status, Some(3));
}

#[test]
fn ambiguous_requests_are_refused_and_counted_apart() {
    let mut filter = start(POLICY);
    for path in ["/a/../customers", "/customers//", "/%2e%2e/customers", "/customers;x", "/a\\b"] {
        let exchange = ask(&mut filter, PEER, "GET", path, &[]);
        assert_eq!(answered(&exchange).status, 400, "{path}");
        assert_eq!(state(&exchange, "wasm.signet.decision"), Some("refuse"));
    }
    assert_eq!(filter.metric("signet_http_ambiguous").unwrap(), Some(5));
}

#[test]
fn without_one_valid_identity_nothing_is_allowed() {
    let mut filter = start(POLICY);
    let expired = format!("{}|spiffe://example.org/client", NOW - 61);
    for (peer, reason) in [
        (None, "no_certificate"),
        (Some("-|-"), "no_certificate"),
        (Some("2000000000|-"), "no_uri_san"),
        (
            Some("2000000000|spiffe://example.org/client,spiffe://example.org/admin"),
            "several_uri_sans",
        ),
        (Some("2000000000|https://example.org/client"), "invalid_spiffe_id"),
        (Some(expired.as_str()), "certificate_expired"),
    ] {
        let exchange = filter.exchange(&request(peer, "GET", "/customers", &[])).unwrap();
        assert_eq!(answered(&exchange).status, 403, "{peer:?}");
        assert_eq!(state(&exchange, "wasm.signet.reason"), Some(reason));
    }
    assert_eq!(filter.metric("signet_http_no_identity").unwrap(), Some(6));
    let in_grace = format!("{}|spiffe://example.org/client", NOW - 60);
    forwarded(&ask(&mut filter, &in_grace, "GET", "/customers", &[]));
}

#[test]
fn a_header_that_is_not_utf_8_is_no_trap() {
    let mut filter = start(POLICY);
    let mut request = request(Some(PEER), "GET", "/customers", &[]);
    request.headers.push((b"x-any".to_vec(), vec![0xff, 0xfe]));
    let exchange = filter.exchange(&request).unwrap();
    assert!(matches!(exchange.outcome, HttpOutcome::Forwarded { .. }));
}

#[test]
fn claims_come_from_the_verified_jwt() {
    let mut filter = start(
        r#"{"format": 1, "workload": "spiffe://example.org/api", "http": [
            {"name": "staff", "from": ["**"], "jwt": {"groups": {"equals": ["staff", "admins"]}}},
            {"name": "nested", "from": ["**"], "jwt": {"realm_access.roles": {"equals": ["r1"]}}},
            {"name": "dotted", "from": ["**"], "jwt": {"https://example\\.org/roles": "present"}},
            {"name": "anonymous", "from": ["**"], "paths": ["/login"], "jwt": {"sub": "absent"}},
            {"name": "robots", "effect": "deny", "from": ["**"], "jwt": {"groups": {"equals": ["robots"]}}}
        ]}"#,
    );
    // Each as Envoy 1.40 with jwt_authn decides it.
    for (path, payload, expected) in [
        ("/", json!(null), "no_rule"),
        ("/login", json!(null), "anonymous"),
        ("/login", json!({ "iss": "i" }), "anonymous"),
        ("/login", json!({ "sub": "" }), "no_rule"),
        ("/", json!({ "groups": "staff" }), "staff"),
        ("/", json!({ "groups": ["staff", "admins"] }), "staff"),
        ("/", json!({ "groups": ["staff", "others"] }), "no_rule"),
        ("/", json!({ "groups": ["staff", 1] }), "no_rule"),
        ("/", json!({ "groups": ["staff", "robots"] }), "robots"),
        ("/", json!({ "groups": [] }), "no_rule"),
        ("/", json!({ "groups": true }), "no_rule"),
        ("/", json!({ "groups": ["staff", null] }), ""),
        ("/", json!({ "realm_access": { "roles": ["r1"] } }), "nested"),
        ("/", json!({ "realm_access": { "roles": "r1" } }), "nested"),
        ("/", json!({ "realm_access": "roles" }), "no_rule"),
        ("/", json!({ "https://example.org/roles": ["any"] }), "dotted"),
    ] {
        let mut request = request(Some(PEER), "GET", path, &[]);
        if !payload.is_null() {
            let of_provider = json!({ "jwt_payload": payload });
            request.metadata.insert("envoy.filters.http.jwt_authn".to_owned(), of_provider);
        }
        let exchange = filter.exchange(&request).unwrap();
        let decided = state(&exchange, "wasm.signet.rule");
        let decided = decided.or(state(&exchange, "wasm.signet.reason")).unwrap_or_default();
        assert_eq!(decided, expected, "{path} {payload}");
        if expected.is_empty() {
            assert_eq!(answered(&exchange).status, 503);
        }
    }
}

#[test]
fn shadow_rules_are_counted_and_change_nothing() {
    let mut filter = start(POLICY);
    let exchange = ask(&mut filter, PEER, "POST", "/customers", &[]);
    assert_eq!(answered(&exchange).status, 403);
    assert_eq!(filter.metric("signet_http_shadow_differs").unwrap(), Some(1));
    assert_eq!(filter.metric("signet_http_shadow_denied").unwrap(), Some(0));
    assert_eq!(state(&exchange, "wasm.signet.shadow"), Some("writes"));
    assert!(exchange.logs[0].text.contains("shadow"));
}

#[test]
fn a_shadow_deny_over_an_allow_is_counted_as_one() {
    let mut filter = start(
        r#"{"format": 1, "workload": "spiffe://example.org/api", "http": [
            {"name": "reads", "from": ["**"]},
            {"name": "closed", "effect": "deny", "mode": "shadow", "from": ["**"], "paths": ["/closed"]}
        ]}"#,
    );
    forwarded(&ask(&mut filter, PEER, "GET", "/open", &[]));
    let exchange = ask(&mut filter, PEER, "GET", "/closed", &[]);
    assert!(forwarded(&exchange).contains(&("x-signet-rule", "reads")));
    assert_eq!(state(&exchange, "wasm.signet.shadow"), Some("closed"));
    assert_eq!(filter.metric("signet_http_shadow_differs").unwrap(), Some(1));
    assert_eq!(filter.metric("signet_http_shadow_denied").unwrap(), Some(1));
}

#[test]
fn the_api_is_told_the_enforced_role_though_a_shadow_rule_weighs_more() {
    let mut filter = start(
        r#"{"format": 1, "workload": "spiffe://example.org/api", "http": [
            {"name": "enforced", "from": ["**"], "db_role": "a"},
            {"name": "tried", "mode": "shadow", "from": ["**"], "paths": ["/customers"], "db_role": "b"}
        ]}"#,
    );
    let exchange = ask(&mut filter, PEER, "GET", "/customers", &[]);
    let told = forwarded(&exchange);
    let values = |wanted: &str| -> Vec<&str> {
        told.iter().filter(|(name, _)| *name == wanted).map(|(_, value)| *value).collect()
    };
    assert_eq!((values("x-db-role"), values("x-signet-rule")), (vec!["a"], vec!["enforced"]));
    assert_eq!(state(&exchange, "wasm.signet.decision"), Some("allow as a"));
    assert_eq!(state(&exchange, "wasm.signet.shadow"), Some("tried"));
    assert_eq!(filter.metric("signet_http_shadow_denied").unwrap(), Some(0));
}

#[test]
fn headers_have_the_names_that_the_policy_gives_them() {
    let names = r#"{"filter": {"headers": {"db_role": "db-user", "rule": "by-rule", "spiffe_id": "caller"}}, "#;
    let mut filter = start(&POLICY.replacen('{', names, 1));
    let forged =
        |value: &'static str| ["db-user", "db_user", "by-rule", "caller"].map(|name| (name, value));
    let mut request = request(Some(PEER), "GET", "/customers", &forged("forged"));
    let trailers = forged("forged").into_iter().chain([("grpc-trace", "kept")]);
    request.trailers = trailers.map(|(name, value)| (name.into(), value.into())).collect();
    let exchange = filter.exchange(&request).unwrap();
    let mut told = forwarded(&exchange);
    told.retain(|(name, _)| !name.starts_with(':') && *name != "x-request-id");
    told.sort_unstable();
    let caller = ("caller", "spiffe://example.org/client");
    assert_eq!(told, [("by-rule", "reads"), caller, ("db-user", "customers_reader")]);
    let HttpOutcome::Forwarded { trailers, .. } = &exchange.outcome else { unreachable!() };
    assert_eq!(*trailers, [(b"grpc-trace".to_vec(), b"kept".to_vec())]);
}

#[test]
fn a_bad_first_configuration_denies_everything() {
    for configuration in
        ["", "{}", "not json", r#"{"format": 99, "workload": "spiffe://example.org/api"}"#]
    {
        let mut filter = start(configuration);
        assert!(filter.logs()[0].text.starts_with("denying everything"), "{:?}", filter.logs());
        let exchange = ask(&mut filter, PEER, "GET", "/customers", &[]);
        assert_eq!(state(&exchange, "wasm.signet.reason"), Some("no_rule"));
        assert_eq!(filter.metric("signet_http_deny_all").unwrap(), Some(1));
        assert_eq!(filter.metric("signet_http_policy_generation").unwrap(), None);
    }
}

/// Requests have no contexts of their own, so nothing but the connection tells whose policy is asked for.
#[test]
fn policies_of_several_workloads_in_one_vm_do_not_mix() {
    let slice = |workload: &str, path: &str| {
        format!(
            r#"{{"format":1,"workload":"spiffe://example.org/{workload}","http":[{{"name":"{workload}","from":["**"],"paths":["{path}"]}}]}}"#
        )
    };
    let mut filter = start(&slice("api", "/api"));
    filter.configure(slice("job", "/job").as_bytes()).unwrap();
    filter.configure(b"{}").unwrap_err();
    // An update of one of them, while the other stays.
    filter.configure(slice("api", "/new").as_bytes()).unwrap();
    let rule = |filter: &mut HttpFilter, own_id: Option<&str>, path: &str| {
        let mut request = request(Some(PEER), "GET", path, &[]);
        let key = b"connection\0uri_san_local_certificate".to_vec();
        request.properties.extend(own_id.map(|id| (key, id.as_bytes().to_vec())));
        let exchange = filter.exchange(&request).unwrap();
        state(&exchange, "wasm.signet.rule").map(str::to_owned)
    };
    let (api, job) = (Some("spiffe://example.org/api"), Some("spiffe://example.org/job"));
    let other = Some("spiffe://example.org/other");
    for (own_id, path, expected) in [
        (api, "/new", Some("api")),
        (api, "/api", None),
        (api, "/job", None),
        (job, "/job", Some("job")),
        (job, "/new", None),
        (other, "/new", None),
        (None, "/new", None),
        (None, "/job", None),
    ] {
        let found = rule(&mut filter, own_id, path);
        assert_eq!(found.as_deref(), expected, "{own_id:?} {path}");
    }
}

#[test]
fn who_is_withdrawn_lets_nobody_in_whatever_its_rules_say() {
    let slice = |rest: &str| {
        format!(
            r#"{{"format":1,"workload":"spiffe://example.org/api","http":[{{"name":"all","from":["**"]}}]{rest}}}"#
        )
    };
    let mut filter = start(&slice(""));
    forwarded(&ask(&mut filter, PEER, "GET", "/", &[]));
    filter.configure(slice(r#","withdrawn":["spiffe://example.org/api"]"#).as_bytes()).unwrap();
    let exchange = ask(&mut filter, PEER, "GET", "/", &[]);
    let response = answered(&exchange);
    assert_eq!((response.status, &*response.details), (403, "signet.deny.identity_withdrawn"));
    assert!(exchange.logs[0].text.ends_with("called is withdrawn"), "{:?}", exchange.logs);
    assert_eq!(filter.metric("signet_http_reason.identity_withdrawn").unwrap(), Some(1));
    filter.configure(slice("").as_bytes()).unwrap();
    forwarded(&ask(&mut filter, PEER, "GET", "/", &[]));
}

#[test]
fn metrics_tell_which_policy_is_in_force() {
    let mut filter = start(POLICY);
    let gauges = |filter: &mut HttpFilter| {
        ["policy_generation", "slice_digest", "deny_all"]
            .map(|name| filter.metric(&format!("signet_http_{name}")).unwrap().unwrap())
    };
    let [generation, first, deny_all] = gauges(&mut filter);
    assert_eq!((generation, deny_all), (1, 0));
    filter.configure(POLICY.as_bytes()).unwrap();
    assert_eq!(gauges(&mut filter), [1, first, 0], "the same policy is no new generation");
    // printf '{"format":1,"workload":"spiffe://example.org/api"}' | sha256sum | cut -c1-12
    filter.configure(br#"{"format":1,"workload":"spiffe://example.org/api"}"#).unwrap();
    assert_eq!(gauges(&mut filter), [2, 0xc54c_bf89_79ca, 0]);
    filter.configure(b"{}").unwrap_err();
    assert_eq!(gauges(&mut filter)[0], 2);
}

#[test]
fn rules_are_counted_up_to_a_bound() {
    let rule = |i: usize| format!(r#"{{"name":"r{i:03}","from":["**"],"paths":["/{i}"]}}"#);
    let rules: Vec<String> = (0..=200).map(rule).collect();
    let slice = format!(r#"{{"format":1,"workload":"spiffe://a/b","http":[{}]}}"#, rules.join(","));
    let mut filter = start(&slice);
    for path in ["/0", "/199", "/199", "/200", "/none"] {
        ask(&mut filter, PEER, "GET", path, &[]);
    }
    assert_eq!(filter.metric("signet_http_rule.r000").unwrap(), Some(1));
    assert_eq!(filter.metric("signet_http_rule.r199").unwrap(), Some(2));
    assert_eq!(filter.metric("signet_http_rule.r200").unwrap(), None);
    assert_eq!(filter.metric("signet_http_other_rules").unwrap(), Some(1));
}

#[test]
fn denials_are_counted_by_reason() {
    let mut filter = start(POLICY);
    for (peer, path) in [
        (PEER, "/customers"),
        (PEER, "/nothing"),
        (PEER, "/nothing"),
        (PEER, "/a//b"),
        ("-|-", "/customers"),
    ] {
        ask(&mut filter, peer, "GET", path, &[]);
    }
    let counted = |filter: &mut HttpFilter, reason: &str| {
        filter.metric(&format!("signet_http_reason.{reason}")).unwrap()
    };
    assert_eq!(counted(&mut filter, "no_rule"), Some(2));
    assert_eq!(counted(&mut filter, "path_empty_segment"), Some(1));
    assert_eq!(counted(&mut filter, "no_certificate"), Some(1));
    assert_eq!(counted(&mut filter, "allowed"), None);
    assert_eq!(counted(&mut filter, "denied_by_rule"), None, "only those that were met");
}

#[test]
fn a_bad_later_configuration_is_refused_and_the_last_good_one_stays() {
    let mut filter = start(POLICY);
    let refused =
        filter.configure(b"{\"format\": 1, \"workload\": \"x\", \"htpp\": []}").unwrap_err();
    assert!(
        matches!(&refused, HostError::ConfigurationRefused { log } if log.contains("htpp")),
        "{refused}"
    );
    forwarded(&ask(&mut filter, PEER, "GET", "/customers", &[]));
    filter.configure(br#"{"format": 1, "workload": "spiffe://example.org/api"}"#).unwrap();
    answered(&ask(&mut filter, PEER, "GET", "/customers", &[]));
}
