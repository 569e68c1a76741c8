//! What a good policy means to each workload.

use signet_policy::SpiffeId;
use signet_policy_document::{Ask, PolicyDocument, Verdict};

const DEMO: &str = include_str!("../../../examples/policies/demo.yaml");

fn demo() -> PolicyDocument {
    PolicyDocument::parse("demo.yaml", DEMO)
        .unwrap_or_else(|faults| panic!("{:?}", faults.lines().collect::<Vec<_>>()))
}

fn slice(document: &PolicyDocument, workload: &str) -> String {
    document.slice_for(SpiffeId::parse(workload).unwrap()).to_json()
}

#[test]
fn slices_of_the_demo() {
    let document = demo();
    assert_eq!(document.rule_count(), 5);
    assert_eq!(document.workloads().count(), 4);
    assert_eq!(
        slice(&document, "spiffe://example.org/ns/api-ns/sa/api"),
        concat!(
            r#"{"format":1,"http":[{"db_role":"customers_reader","from":["spiffe://example.org/ns/client-ns/sa/client"],"#,
            r#""methods":["GET"],"name":"client-reads-customers","paths":["/customers","/customers/*"]},"#,
            r#"{"db_role":"customers_writer","from":["spiffe://example.org/ns/client-ns/sa/client"],"methods":["POST"],"#,
            r#""mode":"shadow","name":"client-writes","paths":["/customers"]},"#,
            r#"{"effect":"deny","from":["**"],"methods":["DELETE"],"name":"nobody-deletes-audit","paths":["/audit/**"]}],"#,
            r#""workload":"spiffe://example.org/ns/api-ns/sa/api"}"#,
        )
    );
    assert_eq!(
        slice(&document, "spiffe://example.org/ns/postgres-ns/sa/customer-db"),
        concat!(
            r#"{"format":1,"postgres":[{"databases":["customers"],"from":["spiffe://example.org/ns/api-ns/sa/api"],"#,
            r#""login_role":"api","max_session":3600,"may_act_as":["customers_reader","customers_writer"],"#,
            r#""name":"api-uses-customers","settings":{"statement_timeout":"5s"}},"#,
            r#"{"databases":["customers"],"from":["spiffe://example.org/ns/report-ns/sa/report"],"#,
            r#""login_role":"customers_reader","name":"report-reads"}],"#,
            r#""workload":"spiffe://example.org/ns/postgres-ns/sa/customer-db"}"#,
        )
    );
    let other = "spiffe://example.org/ns/other/sa/x";
    assert_eq!(slice(&document, other), format!(r#"{{"format":1,"workload":"{other}"}}"#));
}

#[test]
fn aliases_widen_slash_entries_only() {
    let document = PolicyDocument::parse(
        "p.yaml",
        "
version: 1
trust_domain: new.org
trust_domain_aliases: [old.org]
workloads: { client: /client, api: /api, partner: 'spiffe://partner.org/ns/*/sa/job' }
http:
  - { name: r, from: [client, partner, 'spiffe://new.org/exact', /ns/**], to: [api] }
",
    )
    .unwrap();
    let rules = concat!(
        r#""http":[{"from":["spiffe://new.org/client","spiffe://new.org/exact","spiffe://new.org/ns/**","#,
        r#""spiffe://old.org/client","spiffe://old.org/ns/**","spiffe://partner.org/ns/*/sa/job"],"name":"r"}]"#,
    );
    for api in ["spiffe://new.org/api", "spiffe://old.org/api"] {
        assert_eq!(slice(&document, api), format!(r#"{{"format":1,{rules},"workload":"{api}"}}"#));
    }
    let other = "spiffe://partner.org/api";
    assert_eq!(slice(&document, other), format!(r#"{{"format":1,"workload":"{other}"}}"#));
}

#[test]
fn the_digest_is_of_the_meaning() {
    let base = demo().digest();
    assert_eq!(base.len(), 64);
    for (from, to, same) in [
        ("# The API", "# An API", true),
        ("[/customers, \"/customers/{id}\"]", "[\"/customers/{customer}\", /customers/]", true),
        (
            "from: [client]\n    to: [api]\n    methods: [GET]",
            "from: [/ns/client-ns/sa/client]\n    to: [api]\n    methods: [GET]",
            true,
        ),
        (
            "expect: refuse }\n  - { from: client, to: api, request: GET /%",
            "expect: deny }\n  - { from: client, to: api, request: GET /%",
            true,
        ),
        ("methods: [GET]", "methods: [GET, HEAD]", false),
        ("effect: deny", "effect: allow", false),
        (
            "to: [db]\n    databases: [customers]\n    login_role: api",
            "to: [api]\n    databases: [customers]\n    login_role: api",
            false,
        ),
        ("max_session: 1h", "max_session: 60m", true),
        ("max_session: 1h", "max_session: 61m", false),
        ("trust_domain: example.org", "trust_domain: example.com", false),
        ("version: 1", "version: 1\nexpiry_grace: 60s", true),
        ("version: 1", "version: 1\nexpiry_grace: 61s", false),
    ] {
        let text = DEMO.replacen(from, to, 1);
        assert_ne!(text, DEMO, "{from}");
        let digest = PolicyDocument::parse("p.yaml", &text).unwrap().digest();
        assert_eq!(digest == base, same, "{from} → {to}");
    }
}

#[test]
fn tests_and_cases() {
    let document = demo();
    let tests = document.tests();
    assert_eq!(tests.len(), 16);
    let first = &tests[0];
    assert_eq!(first.title, "client → api: GET /customers");
    assert_eq!(first.from, "spiffe://example.org/ns/client-ns/sa/client");
    assert_eq!(
        DEMO.lines().nth(first.line - 1).unwrap().trim_start().get(..16),
        Some("- { from: client")
    );
    let expect = first.expect.as_ref().unwrap();
    assert_eq!(expect.verdict, Verdict::Allow);
    assert_eq!(expect.rule, Some(Some("client-reads-customers".to_owned())));
    assert_eq!(expect.role, Some(Some("customers_reader".to_owned())));
    assert_eq!(tests[2].expect.as_ref().unwrap().rule, Some(None));

    let json = r#"{"from":"client","to":"api","request":"GET /a b","host":"api:80","headers":{"x":["1","2"],"y":3},"port":8443,"upgrade":"websocket"}"#;
    let case = document.parse_case("-", json).unwrap();
    let Ask::Http(ask) = &case.ask else { panic!("{case:?}") };
    assert_eq!(case.expect, None);
    assert_eq!(ask.port, Some(8443));
    assert_eq!(
        ask.header_lines(),
        [
            (":method", "GET"),
            (":path", "/a b"),
            (":authority", "api:80"),
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("x", "1"),
            ("x", "2"),
            ("y", "3"),
        ]
    );
    // What JSON may leave as it is, and YAML may not.
    let json = "{\"from\":\"client\",\"to\":\"api\",\"request\":\"GET /\u{7f}\u{80}\u{9f}é\"}";
    let Ask::Http(ask) = document.parse_case("-", json).unwrap().ask else { panic!("{json}") };
    assert_eq!(ask.path, "/\u{7f}\u{80}\u{9f}é");
    let cases = document
        .parse_cases(
            "cases.yaml",
            "- { from: /x, to: db, database: d, user: u, parameters: { a: b }, expect: deny }",
        )
        .unwrap();
    let Ask::Postgres(ask) = &cases[0].ask else { panic!("{cases:?}") };
    assert_eq!((ask.database.as_str(), ask.user.as_deref()), ("d", Some("u")));
    assert!(document.parse_cases("cases.yaml", "- { from: /x, to: db, database: d }").is_err());
    assert!(document.parse_case("-", r#"{"from":"nobody","to":"api","request":"GET /"}"#).is_err());
}

/// The largest policy that `signet policy check` promises to read at once.
#[test]
fn ten_thousand_rules() {
    use std::fmt::Write;
    let mut text = "version: 1\ntrust_domain: example.org\nhttp:\n".to_owned();
    for i in 0..10_000 {
        writeln!(
            text,
            "  - {{ name: r{i}, from: [/ns/n{i}/sa/client], to: [/ns/n{}/sa/api], methods: [GET], paths: [/x/y{i}], db_role: r{i} }}",
            i % 100
        )
        .unwrap();
    }
    let document = PolicyDocument::parse("p.yaml", &text).unwrap();
    assert_eq!(document.rule_count(), 10_000);
    assert_eq!(
        document
            .slice_for(SpiffeId::parse("spiffe://example.org/ns/n7/sa/api").unwrap())
            .http
            .len(),
        100
    );
}
