//! What `signet policy explain` says: the exact text is the test.

mod command;

use command::signet;

const POLICY: &str = "\
version: 1
trust_domain: example.org
workloads: { client: /client, api: /api, db: /db, report: /report }
http:
  - { name: reads, from: [client], to: [api], methods: [GET], paths: ['/customers/{id}'], db_role: reader }
  - { name: no-audit, effect: deny, from: ['**'], to: [api], paths: [/audit/**] }
  - { name: writes, mode: shadow, from: [client], to: [api], methods: [POST], paths: [/customers] }
  - { name: tenants, from: [client], to: [api], paths: [/t], headers: { x-tenant: [acme, umbrella] }, jwt: { sub: me }, ports: [8443], hosts: ['*.example.org'] }
  - { name: chat, from: [client], to: [api], paths: [/chat], upgrades: [websocket] }
postgres:
  - { name: uses, from: [api], to: [db], databases: [customers], login_role: api, may_act_as: [reader] }
";

/// Each row: the question, the exit code, and the whole answer.
#[test]
fn answers() {
    let client = ["--from", "client", "--to", "api", "--request"];
    let http = |request: &'static str| [&client[..], &[request]].concat();
    let db =
        |more: &[&'static str]| [&["--from", "api", "--to", "db", "--database"], more].concat();
    for (question, code, answer) in [
        (
            http("GET /customers/7"),
            0,
            "allow  client → api: GET /customers/7
  db_role  reader
  reason   allowed
  why      rule reads allows it
  rule     reads (standard input:5)
    ✓ to: spiffe://example.org/api fits spiffe://example.org/api
    ✓ from: spiffe://example.org/client fits spiffe://example.org/client
    ✓ paths: /customers/7 fits /customers/*
    ✓ methods: GET fits GET
",
        ),
        (
            http("PUT /customers/7"),
            1,
            "deny  client → api: PUT /customers/7
  reason   no_rule
  why      no rule allows it
  nearest  reads (standard input:5)
    ✗ methods: PUT, and the rule has GET
    ✓ to: spiffe://example.org/api fits spiffe://example.org/api
    ✓ from: spiffe://example.org/client fits spiffe://example.org/client
    ✓ paths: /customers/7 fits /customers/*
",
        ),
        (
            http("POST /customers"),
            1,
            "deny  client → api: POST /customers
  reason   no_rule
  why      no rule allows it yet: writes would, and is in shadow mode
  nearest  writes (standard input:7)
    ✗ mode: enforced rules only, and the rule has shadow: decided and counted
    ✓ to: spiffe://example.org/api fits spiffe://example.org/api
    ✓ from: spiffe://example.org/client fits spiffe://example.org/client
    ✓ paths: /customers fits /customers
    ✓ methods: POST fits POST
  shadow   with the shadow rules enforced: allow by writes
",
        ),
        (
            http("GET /audit/7"),
            1,
            "deny  client → api: GET /audit/7
  reason   denied_by_rule
  why      rule no-audit denies it, and a deny beats every allow
  rule     no-audit (standard input:6)
    ✓ to: spiffe://example.org/api fits spiffe://example.org/api
    ✓ from: spiffe://example.org/client fits **
    ✓ paths: /audit/7 fits /audit/**
",
        ),
        (
            http("GET /a/../b"),
            1,
            "refuse  client → api: GET /a/../b
  reason   path_dot_segment
  why      the path has a segment `.` or `..`, so two readers could read the request differently
",
        ),
        (
            [http("GET /t"), vec!["--header", "x-tenant: acme", "--header", "x-tenant: evil"]]
                .concat(),
            1,
            "deny  client → api: GET /t with x-tenant: acme, x-tenant: evil
  reason   no_rule
  why      no rule allows it
  nearest  tenants (standard input:8)
    ✗ hosts: no host, and the rule has *.example.org
    ✗ ports: a port that isn't known, and the rule has 8443
    ✗ headers: x-tenant acme and evil, and the rule has x-tenant acme or umbrella
    ✗ jwt: no sub, and the rule has sub me
    ✓ to: spiffe://example.org/api fits spiffe://example.org/api
    ✓ from: spiffe://example.org/client fits spiffe://example.org/client
    ✓ paths: /t fits /t
",
        ),
        (
            [http("GET /chat"), vec!["--upgrade", "tls/1.3"]].concat(),
            1,
            "deny  client → api: GET /chat with upgrade tls/1.3
  reason   no_rule
  why      no rule allows it
  nearest  chat (standard input:9)
    ✗ upgrades: tls/1.3, and the rule has websocket
    ✓ to: spiffe://example.org/api fits spiffe://example.org/api
    ✓ from: spiffe://example.org/client fits spiffe://example.org/client
    ✓ paths: /chat fits /chat
",
        ),
        (
            http("CONNECT api:443"),
            1,
            "deny  client → api: CONNECT api:443
  reason   connect
  why      a plain CONNECT is never allowed
",
        ),
        (
            vec!["--from", "report", "--to", "api", "--request", "GET /customers/7"],
            1,
            "deny  report → api: GET /customers/7
  reason   no_rule
  why      no rule allows it
  nearest  reads (standard input:5)
    ✗ from: spiffe://example.org/report, and the rule has spiffe://example.org/client
    ✓ to: spiffe://example.org/api fits spiffe://example.org/api
    ✓ paths: /customers/7 fits /customers/*
    ✓ methods: GET fits GET
",
        ),
        (
            vec!["--from", "client", "--to", "report", "--request", "GET /customers/7"],
            1,
            "deny  client → report: GET /customers/7
  reason   no_rule
  why      no rule is for spiffe://example.org/report, so everything is denied there
  nearest  reads (standard input:5)
    ✗ to: spiffe://example.org/report, and the rule has spiffe://example.org/api
    ✓ from: spiffe://example.org/client fits spiffe://example.org/client
    ✓ paths: /customers/7 fits /customers/*
    ✓ methods: GET fits GET
",
        ),
        (
            db(&["customers", "--user", "postgres"]),
            1,
            "deny  api → db: database customers as postgres
  reason   user_not_allowed
  why      rule uses decides, and doesn't let the peer act as postgres
  rule     uses (standard input:11)
    ✗ may_act_as: postgres, and the rule has api or reader
    ✓ to: spiffe://example.org/db fits spiffe://example.org/db
    ✓ from: spiffe://example.org/api fits spiffe://example.org/api
    ✓ databases: customers fits customers
",
        ),
        (
            db(&["other"]),
            1,
            "deny  api → db: database other
  reason   database_not_allowed
  why      no rule lets it in
  nearest  uses (standard input:11)
    ✗ databases: other, and the rule has customers
    ✓ to: spiffe://example.org/db fits spiffe://example.org/db
    ✓ from: spiffe://example.org/api fits spiffe://example.org/api
    ✓ may_act_as: api fits api or reader
",
        ),
        (
            db(&["customers", "--parameter", "options=-c search_path=x"]),
            1,
            "deny  api → db: database customers with options=-c search_path=x
  reason   parameter_not_allowed
  why      rule uses decides, and doesn't let the client set search_path at start-up
  rule     uses (standard input:11)
    ✗ client_parameters: search_path, and the rule has none
    ✓ to: spiffe://example.org/db fits spiffe://example.org/db
    ✓ from: spiffe://example.org/api fits spiffe://example.org/api
    ✓ databases: customers fits customers
    ✓ may_act_as: api fits api or reader
",
        ),
        (
            db(&["customers", "--parameter", "options=-d 5"]),
            1,
            "refuse  api → db: database customers with options=-d 5
  reason   options_switch
  why      `options` has the switch `-d`, and only settings can be judged
",
        ),
    ] {
        let run = signet(&[&["policy", "explain", "-"], &question[..]].concat(), POLICY);
        assert_eq!((run.out.as_str(), run.err.as_str()), (answer, ""), "{question:?}");
        assert_eq!(run.code, code, "{question:?}");
    }
}

#[test]
fn as_json() {
    let question =
        ["--from", "client", "--to", "api", "--request", "PUT /customers/7", "-o", "json"];
    let found = signet(&[&["policy", "explain", "-"], &question[..]].concat(), POLICY).json();
    assert_eq!((&found["decision"], &found["reason"]), (&"deny".into(), &"no_rule".into()));
    assert_eq!(found["explanation"]["summary"], "no rule allows it");
    let nearest = &found["explanation"]["nearest"];
    assert_eq!((&nearest["name"], &nearest["line"]), (&"reads".into(), &5.into()));
    assert_eq!(
        nearest["fails"],
        serde_json::json!([{ "key": "methods", "wants": "GET", "found": "PUT" }])
    );
    let lines = "{\"from\":\"client\",\"to\":\"api\",\"request\":\"GET /t\",\"jwt\":{\"sub\":\"me\"}}\n{}\n";
    let run = {
        let directory = tempfile::tempdir().unwrap();
        let policy = directory.path().join("p.yaml");
        std::fs::write(&policy, POLICY).unwrap();
        signet(&["policy", "explain", policy.to_str().unwrap(), "--batch", "-"], lines)
    };
    assert_eq!((run.code, run.out.lines().count()), (2, 2));
}
