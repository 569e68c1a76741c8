//! Every fault by itself: its place, what is said of it, and what is advised.

use std::path::Path;

use signet_policy_document::PolicyDocument;

use crate::{HEAD, shown};

/// Compares with a golden file. With `BLESS=1` the file is written anew, to be read and committed.
fn golden(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert_eq!(found, expected, "{name} differs; found:\n{found}");
}

#[test]
fn five_faults_are_told_at_once_each_at_its_place() {
    let text = include_str!("../golden/five-faults.yaml");
    let faults = PolicyDocument::parse("policy.yaml", text).unwrap_err();
    assert_eq!(faults.count(), 5);
    assert_eq!(faults.to_string(), "5 faults in policy.yaml");
    golden("five-faults.txt", &shown(&faults));
    golden("five-faults.lines", &faults.lines().map(|line| line + "\n").collect::<String>());
}

/// A policy on one line, as programs write it: what is shown is the part around the fault.
#[test]
fn faults_of_long_lines() {
    let rule = |i| format!("{{ name: r{i}, from: [/a], to: [/b] }}, ");
    let rules = (0..1000).map(rule).collect::<Vec<_>>().concat();
    let text = format!(
        "{{ version: 1, trust_domain: example.org, http: [{rules}{{ name: r0, fron: [/a], from: [/a], to: [/b] }}, {rules}] }}"
    );
    let faults = PolicyDocument::parse("p.yaml", &text.replacen("r500", "r 500", 1)).unwrap_err();
    let told = shown(&faults);
    assert!(told.lines().all(|line| line.chars().count() < 200), "{told}");
    assert!(told.contains("two rules are named `r0`"), "{told}");
    assert!(told.contains("(first here: p.yaml:1:"), "{told}");
    assert!(told.contains("did you mean `from`?"), "{told}");
}

/// Each row: what follows the head of a good document, then what is found in the text, said, and advised.
#[test]
fn faults() {
    let http =
        |keys: &str| format!("{HEAD}http: [{{ name: r, from: [client], to: [api], {keys} }}]\n");
    let postgres = |keys: &str| {
        format!(
            "{HEAD}postgres: [{{ name: r, from: [api], to: [db], databases: [d], login_role: u, {keys} }}]\n"
        )
    };
    let test = |keys: &str| format!("{HEAD}tests: [{{ {keys} }}]\n");
    let with = |rest: &str| format!("{HEAD}{rest}");
    for (text, place, message, help) in [
        // The document
        (String::new(), "", "a policy is empty", "accepted: `version`"),
        ("[]".to_owned(), "[", "a policy is a list", "accepted: `version`"),
        (
            "trust_domain: example.org".to_owned(),
            "trust_domain",
            "a policy has no key `version`",
            "required",
        ),
        ("version: 1".to_owned(), "version", "a policy has no key `trust_domain`", "required"),
        (HEAD.replace("version: 1", "version: 2"), "2", "`version` is 2", "accepted: 1"),
        (HEAD.replace("version: 1", "version: '1'"), "'1'", "`version` is a text", "accepted: 1"),
        (
            HEAD.replace("example.org", "Example.org"),
            "Example.org",
            "`trust_domain` is `Example.org`",
            "such as `example.org`",
        ),
        (
            HEAD.replace("example.org", "spiffe://example.org"),
            "spiffe://example.org",
            "`trust_domain` is",
            "such as",
        ),
        (HEAD.replace("example.org", "a/b"), "a/b", "`trust_domain` is `a/b`", "such as"),
        (
            with("trust_domain_aliases: [example.org]"),
            "[",
            "names `example.org` itself",
            "other trust domains",
        ),
        (
            with("htpp: []"),
            "htpp",
            "unknown key `htpp`",
            "did you mean `http`? accepted: `version`",
        ),
        (with("version: 1"), "version", "key `version` stands twice", "once"),
        (with("5: 1"), "5", "a key of a policy is an integer", "accepted"),
        (with("expiry_grace: 60"), "60", "`expiry_grace` is `60`", "such as `60s`"),
        (with("expiry_grace: 1.5h"), "1.5h", "`expiry_grace` is `1.5h`", "whole number"),
        (with("session_grace: -1s"), "-1s", "`session_grace` is `-1s`", "from 0s"),
        (with("expiry_grace: 99999999999999999999d"), "9", "`expiry_grace` is", "3650d"),
        // What is no YAML
        (
            with("http: ["),
            "[",
            "no YAML that can be read: unclosed bracket '['",
            "once this one is repaired",
        ),
        (with("a: b: c"), ":", "mapping values are not allowed", ""),
        (with("---\nversion: 1"), "", "multiple YAML documents", ""),
        (with("http: *nothing"), "*", "no YAML that can be read", ""),
        (with("x: &x {a: b}\ny: { <<: *x }"), "<<", "merge", ""),
        // Workloads
        (
            with("").replace("client: /client", "Client: /client"),
            "Client",
            "workload `Client` has no valid name",
            "`a-z`",
        ),
        (
            with("").replace("client: /client", "client: client"),
            "client",
            "`client` is no SPIFFE ID",
            "`spiffe://…`",
        ),
        (
            with("").replace("/client,", "/cl ient,"),
            "/cl ient",
            "`/cl ient` is no SPIFFE ID",
            "a segment is",
        ),
        (with("").replace("/client,", "/**/a,"), "/**/a", "no SPIFFE ID", "stands last"),
        (
            with("").replace("api: /api", "client: /api"),
            "client",
            "workload `client` is named twice",
            "once",
        ),
        (
            with("").replace("/client,", "spiffe://Example.org/x,"),
            "spiffe://Example.org/x",
            "no SPIFFE ID",
            "trust domain",
        ),
        // Rules
        (with("http: {}"), "{", "`http` is a mapping", "a list of rules"),
        (with("http: [5]"), "5", "an HTTP rule is an integer", "accepted: `name`"),
        (with("http: [{ name: r, to: [api] }]"), "{", "an HTTP rule has no key `from`", "required"),
        (
            with("http:\n  - name: r\n    to: [api]"),
            "name",
            "an HTTP rule has no key `from`",
            "required",
        ),
        (
            with("http: [{ name: a b, from: [client], to: [api] }]"),
            "a b",
            "`name` is `a b`",
            "1 to 100",
        ),
        (http("jwt: {}"), "{", "`jwt` is empty", "leave the key out"),
        (http("jwt: { a..b: x }"), "a..b", "`jwt` is `a..b`", "keys joined by `.`"),
        (http("jwt: [sub]"), "[", "`jwt` is a list", "names and conditions"),
        (http("jwt: { sub: { absent: false } }"), "false", "`absent` is false", "`absent: true`"),
        (http("jwt: { sub: [] }"), "[", "`jwt` is an empty list", "leave the key out"),
        (http("form: [api]"), "form", "unknown key `form`", "did you mean `from`?"),
        (
            http("effect: Deny"),
            "Deny",
            "unknown effect `Deny`",
            "did you mean `deny`? accepted: `allow`, `deny`",
        ),
        (http("mode: audit"), "audit", "unknown mode `audit`", "accepted: `enforce`, `shadow`"),
        (http("methods: []"), "[", "`methods` is an empty list", "leave the key out"),
        (http("methods: GET"), "GET", "`methods` is a text", "write `[GET]`"),
        (http("methods: [get]"), "get", "unknown method `get`", "did you mean `GET`?"),
        (http("methods: [GET, POST, GET]"), "GET", "`methods` names `GET` twice", "once"),
        (http("methods:"), "", "`methods` is empty", "a list is accepted"),
        (http("paths: [customers]"), "customers", "`paths` is `customers`", "begins with `/`"),
        (http("paths: [/a/*b]"), "/a/*b", "`paths` is `/a/*b`", "whole segments"),
        (http("paths: [/a/, /a]"), "/a", "`paths` names `/a` twice", "once"),
        (http("paths: [/a/**/b]"), "/a/**/b", "`paths` is", "stands last"),
        (http("paths: [/%61]"), "/%61", "`paths` is", "decoded"),
        (http("hosts: [API.example.org]"), "API.example.org", "`hosts` is", "lower case"),
        (http("hosts: ['[0:0::1]']"), "'[0:0::1]'", "`hosts` is `[0:0::1]`", "RFC 5952"),
        (http("hosts: [10.0.0.01]"), "10.0.0.01", "`hosts` is `10.0.0.01`", "one spelling"),
        (http("ports: [0]"), "0", "`ports` is 0", "1 to 65535"),
        (http("upgrades: [WebSocket]"), "WebSocket", "`upgrades` is", "lower case"),
        (http("headers: { X-Tenant: a }"), "X-Tenant", "`headers` is `X-Tenant`", "lower case"),
        (http("headers: {}"), "{", "`headers` is empty", "leave the key out"),
        (http("headers: { host: a }"), "host", "`headers` is `host`", "under `hosts`"),
        (http("headers: { x-db-role: a }"), "{", "`headers` names `x-db-role`", "`from`"),
        (http("headers: { a: { absent: false } }"), "false", "`absent` is false", "`absent: true`"),
        (
            http("headers: { a: { absent: true, present: true } }"),
            "{",
            "none or more than one",
            "one of",
        ),
        (
            http("headers: { a: { prefix: x } }"),
            "prefix",
            "unknown key `prefix`",
            "accepted: `equals`",
        ),
        (http("db_role: none"), "none", "`db_role` is `none`", "key words"),
        (
            http(&format!("db_role: {}", "r".repeat(64))),
            "rrrr",
            "`db_role` is `rrrr",
            "1 to 63 bytes",
        ),
        (http(r#"db_role: "r\0x""#), "\"r\\0x\"", "`db_role` is `r", "no NUL"),
        (http("db_role: 5"), "5", "`db_role` is an integer", "write `\"5\"`"),
        (
            http("db_role: pg_read_all_data"),
            "pg_read_all_data",
            "privileged role `pg_read_all_data`",
            "allow_privileged",
        ),
        (http("effect: deny, db_role: r"), "r", "a deny has a `db_role`", "leave it out"),
        (
            http("allow_privileged: yes please"),
            "yes please",
            "`allow_privileged` is a text",
            "`true`",
        ),
        (
            with("http: [{ name: r, from: [clinet], to: [api] }]"),
            "clinet",
            "unknown workload `clinet`",
            "did you mean `client`?",
        ),
        (
            with("http: [{ name: r, from: [Client], to: [api] }]"),
            "Client",
            "`from` names `Client`",
            "the name of a workload",
        ),
        (with("http: [{ name: r, from: ['*'], to: [api] }]"), "'*'", "`from` names `*`", "`**`"),
        (
            with("http: [{ name: r, from: [/a*], to: [api] }]"),
            "/a*",
            "`from` names `/a*`",
            "whole segments",
        ),
        (
            with("http: [{ name: r, from: ['spiffe://example.org'], to: [api] }]"),
            "'spiffe",
            "`from` names",
            "trust-domain/path",
        ),
        (
            with("http: [{ name: r, from: [client, /client], to: [api] }]"),
            "/client",
            "`from` names `/client` twice",
            "once",
        ),
        (with("http: [{ name: r, from: [], to: [api] }]"), "[", "`from` is an empty list", ""),
        (postgres("effect: deny"), "effect", "unknown key `effect` in a Postgres rule", "accepted"),
        (postgres("max_session: 0s"), "0s", "`max_session` is `0s`", "from 1s"),
        (postgres("may_act_as: [public]"), "public", "`may_act_as` is `public`", "key words"),
        (
            postgres("may_act_as: [postgres]"),
            "postgres",
            "privileged role `postgres`",
            "allow_privileged",
        ),
        (postgres("may_act_as: []"), "[", "`may_act_as` is an empty list", ""),
        (
            postgres("on_svid_expiry: stop"),
            "stop",
            "unknown on_svid_expiry `stop`",
            "`end`, `keep`",
        ),
        (postgres("settings: { role: x }"), "role", "`settings` is `role`", "who the session is"),
        (postgres("settings: { a: [] }"), "[", "`settings` is a list", "a text"),
        (postgres("settings: { a: 1, A: 2 }"), "A", "setting `A` stands twice", "once"),
        (
            postgres("client_parameters: [session_authorization]"),
            "session_authorization",
            "`client_parameters` is",
            "who the session is",
        ),
        (postgres("replication: maybe"), "maybe", "`replication` is a text", "`true`"),
        // Tests
        (test("from: client, to: api, expect: allow"), "{", "a test case has no key `request`", ""),
        (
            test("from: client, to: api, request: GET, expect: allow"),
            "GET",
            "`request` is `GET`",
            "such as `GET /customers`",
        ),
        (
            test("from: '**', to: api, request: GET /, expect: allow"),
            "'**'",
            "`from`: `**` is not one SPIFFE ID",
            "no pattern",
        ),
        (
            test("from: client, to: api, request: GET /, expect: allowed"),
            "allowed",
            "unknown expect `allowed`",
            "did you mean `allow`?",
        ),
        (
            test("from: client, to: api, request: GET /, jwt: { a..b: x }, expect: allow"),
            "{",
            "`jwt` is `a..b`",
            "keys joined by `.`",
        ),
        (
            test("from: client, to: api, request: GET /, role: x, expect: allow"),
            "x",
            "a test case with `request` has `role`",
            "",
        ),
        (
            test("from: client, to: api, request: GET /, database: x, expect: allow"),
            "x",
            "`request` and `database`",
            "which",
        ),
        // Between rules
        (
            with(
                "http: [{ name: r, from: [client], to: [api] }]\npostgres: [{ name: r, from: [api], to: [db], databases: [d], login_role: u }]",
            ),
            "r",
            "two rules are named `r`",
            "over HTTP and Postgres",
        ),
    ] {
        let faults = PolicyDocument::parse("p.yaml", &text).expect_err(&text);
        let told = shown(&faults);
        assert_eq!(faults.count(), 1, "{told}");
        let fault = faults.iter().next().unwrap();
        assert!(fault.message.contains(message), "{message}\n{told}");
        assert!(fault.help.contains(help) || fault.at.1.contains(help), "{help}\n{told}");
        let found = text.get(fault.at.0.clone()).unwrap();
        assert!(found.starts_with(place), "{place:?}, found {found:?}\n{told}");
    }
}
