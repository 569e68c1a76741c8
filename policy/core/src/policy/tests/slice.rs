use crate::{MAX_CLAIMS, Slice, SliceError};

const WORKLOAD: &str = "spiffe://example.org/ns/api-ns/sa/api";

#[test]
fn canonical_form() {
    let written = format!(
        r#"{{ "workload": "{WORKLOAD}", "format": 1, "expiry_grace": 60, "filter": {{ "denial_detail": "class", "jwt_payload": "jwt_payload" }},
        "postgres": [
            {{ "name": "p", "from": ["**"], "databases": ["b", "a"], "login_role": "r", "on_svid_expiry": "end",
               "replication": false, "settings": {{ "b": "1", "a": "é" }}, "max_session": 60 }} ],
        "http": [
            {{ "name": "z", "from": ["spiffe://b/x", "spiffe://a/x"], "effect": "allow", "mode": "enforce",
               "paths": ["/b/{{id}}", "/a/"], "methods": ["PUT", "GET"], "ports": [443, 80],
               "jwt": {{ "sub": "present", "groups": {{ "equals": ["b", "a"] }} }} }},
            {{ "name": "a", "from": ["**"], "effect": "deny", "headers": {{ "x-b": "absent", "x-a": {{ "equals": ["2", "1"] }} }} }} ] }}"#
    );
    let canonical = concat!(
        r#"{"format":1,"http":[{"effect":"deny","from":["**"],"headers":{"x-a":{"equals":["1","2"]},"x-b":"absent"},"name":"a"},"#,
        r#"{"from":["spiffe://a/x","spiffe://b/x"],"jwt":{"groups":{"equals":["a","b"]},"sub":"present"},"methods":["GET","PUT"],"name":"z","paths":["/a","/b/*"],"ports":[80,443]}],"#,
        r#""postgres":[{"databases":["a","b"],"from":["**"],"login_role":"r","max_session":60,"name":"p","settings":{"a":"1","b":"1"}}],"#,
        r#""workload":"spiffe://example.org/ns/api-ns/sa/api"}"#,
    )
    .replacen(r#""a":"1","b":"1""#, r#""a":"é","b":"1""#, 1);
    let slice = Slice::from_json(written.as_bytes()).unwrap();
    assert_eq!(slice.clone().to_json(), canonical);
    assert_eq!(Slice::from_json(canonical.as_bytes()).unwrap().to_json(), canonical);
    assert!(slice.clone().http_only().postgres.is_empty());
    assert!(slice.postgres_only().http.is_empty());
    assert_eq!(
        Slice::deny_all(WORKLOAD).to_json(),
        format!(r#"{{"format":1,"workload":"{WORKLOAD}"}}"#)
    );
}

/// RFC 8785 §3.2.3: by UTF-16 code units. 😀 is D83D DE00, and Ａ is FF21.
#[test]
fn keys_stand_in_the_order_of_utf_16() {
    let slice = |claims: &str| {
        format!(
            r#"{{"format":1,"http":[{{"from":["**"],"jwt":{{{claims}}},"name":"a"}}],"workload":"{WORKLOAD}"}}"#
        )
    };
    let written = slice(r#""Ａ":"absent","😀":"present","a":"present""#);
    let sorted = slice(r#""a":"present","😀":"present","Ａ":"absent""#);
    assert_eq!(Slice::from_json(written.as_bytes()).unwrap().to_json(), sorted);
}

/// A slice that says what it need not means the same, and is written without it.
#[test]
fn defaults_are_omitted_written_or_not() {
    let written = format!(
        r#"{{"expiry_grace":60,"filter":{{"denial_detail":"class","headers":{{"db_role":"x-db-role","rule":"x-signet-rule",
        "spiffe_id":"x-spiffe-id"}},"jwt_payload":"jwt_payload"}},"format":1,
        "http":[{{"db_role":null,"effect":"allow","from":["**"],"headers":{{}},"hosts":null,"jwt":{{}},"methods":null,
        "mode":"enforce","name":"h","paths":null,"ports":null,"upgrades":null}}],
        "postgres":[{{"client_parameters":null,"databases":["*"],"from":["**"],"login_role":"r","max_session":null,
        "may_act_as":null,"name":"p","on_svid_expiry":"end","replication":false,"settings":{{}}}}],
        "session_grace":900,"workload":"{WORKLOAD}"}}"#
    );
    let omitted = format!(
        r#"{{"format":1,"http":[{{"from":["**"],"name":"h"}}],"postgres":[{{"databases":["*"],"from":["**"],"login_role":"r","name":"p"}}],"workload":"{WORKLOAD}"}}"#
    );
    let slice = Slice::from_json(written.as_bytes()).unwrap();
    assert_eq!(slice, Slice::from_json(omitted.as_bytes()).unwrap());
    assert_eq!(slice.to_json(), omitted);
    // One of several names that differ.
    let named = format!(
        r#"{{"filter":{{"headers":{{"rule":"x-rule"}}}},"format":1,"workload":"{WORKLOAD}"}}"#
    );
    assert_eq!(Slice::from_json(named.as_bytes()).unwrap().to_json(), named);
}

#[test]
fn who_is_withdrawn_stands_with_the_workloads() {
    let (a, b) = ("spiffe://example.org/a", "spiffe://example.org/b");
    let slice = Slice { withdrawn: vec![b.into(), a.into()], ..Slice::deny_all(WORKLOAD) };
    let written = format!(r#"{{"format":1,"withdrawn":["{a}","{b}"],"workload":"{WORKLOAD}"}}"#);
    assert_eq!(slice.to_json(), written);
    let read = Slice::from_json(written.as_bytes()).unwrap();
    assert_eq!(read.withdrawn, [a, b]);
    assert!(!read.is_withdrawn() && Slice::withdrawn(WORKLOAD).is_withdrawn());
}

#[test]
fn claims_are_bounded() {
    let slice = |claims: std::ops::Range<usize>| {
        let conditions = claims.map(|i| format!(r#""c{i}":"present""#)).collect::<Vec<_>>();
        let jwt = conditions.join(",");
        Slice::from_json(
            format!(
                r#"{{"format":1,"workload":"{WORKLOAD}","http":[
                    {{"name":"a","from":["**"],"jwt":{{"c0":"present"}}}},
                    {{"name":"b","from":["**"],"jwt":{{{jwt}}}}}]}}"#
            )
            .as_bytes(),
        )
    };
    assert_eq!(slice(0..MAX_CLAIMS).unwrap().claims().len(), MAX_CLAIMS);
    assert_eq!(slice(0..MAX_CLAIMS + 1), Err(SliceError::TooManyClaims(MAX_CLAIMS + 1)));
}

#[test]
fn unreadable_slices() {
    let slice = |rest: &str| format!(r#"{{"format":1,"workload":"{WORKLOAD}"{rest}}}"#);
    for (json, fault) in [
        (String::new(), "EOF"),
        ("[]".to_owned(), "invalid length"),
        ("null".to_owned(), "invalid type"),
        ("{}".to_owned(), "missing field `format`"),
        (r#"{"format":1}"#.to_owned(), "missing field `workload`"),
        (slice("x"), "expected `,` or `}`"),
        (slice(r#","jwt":1"#), "unknown field `jwt`"),
        (slice(r#","http":[{"name":"a","from":["**"],"cel":""}]"#), "unknown field `cel`"),
        (slice(r#","http":[{"name":"a","from":["**"],"jwt":{"a..b":"absent"}}]"#), "keys joined"),
        (
            slice(r#","http":[{"name":"a","from":["**"],"jwt":{"sub":{"equals":[]}}}]"#),
            "empty list `jwt`",
        ),
        (slice(r#","filter":{"jwt_payload":""}"#), "a payload's name"),
        (slice(r#","http":[{"name":"a"}]"#), "missing field `from`"),
        (slice(r#","http":[{"name":"a","from":["/x"]}]"#), "a pattern over SPIFFE IDs"),
        (slice(r#","http":[{"name":"a","from":[]}]"#), "empty list `from`"),
        (slice(r#","http":[{"name":"a","from":["**"],"methods":[]}]"#), "empty list `methods`"),
        (
            slice(r#","http":[{"name":"a","from":["**"],"effect":"ALLOW"}]"#),
            "unknown variant `ALLOW`",
        ),
        (slice(r#","http":[{"name":"a","from":["**"],"db_role":"none"}]"#), "key words"),
        (
            slice(r#","http":[{"name":"a","from":["**"]},{"name":"a","from":["**"]}]"#),
            "two rules named `a`",
        ),
        (slice(r#","http":[{"name":"a","from":["**"],"name":"b"}]"#), "duplicate field `name`"),
        (
            slice(
                r#","postgres":[{"name":"a","from":["**"],"databases":["*"],"login_role":"r","effect":"deny"}]"#,
            ),
            "unknown field `effect`",
        ),
        (slice(r#","withdrawn":["api"]"#), "workload `api`"),
        (slice(r#","expiry_grace":1.5"#), "invalid type"),
        (slice(r#","expiry_grace":-1"#), "invalid value"),
    ] {
        let error = Slice::from_json(json.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(fault), "{json}\n{error}");
    }
    assert_eq!(Slice::from_json(br#"{"format":2,"new":1}"#), Err(SliceError::Format(2)));
    assert!(Slice::from_json(b"\xff").is_err());
}
