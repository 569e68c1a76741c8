//! What `signet policy` says and how it exits: the exact text is the test.

mod command;

use std::path::Path;

use command::{signet, signet_in};
use serde_json::{Value, json};

/// A policy whose meaning fits on a page.
const POLICY: &str = "\
version: 1
trust_domain: example.org
workloads: { client: /client, api: /api, db: /db }
http:
  - { name: reads, from: [client], to: [api], methods: [GET], paths: ['/customers/{id}'], db_role: reader }
  - { name: no-audit, effect: deny, from: ['**'], to: [api], paths: [/audit/**] }
postgres:
  - { name: uses, from: [api], to: [db], databases: [customers], login_role: api, may_act_as: [reader] }
tests:
  - { from: client, to: api, request: GET /customers/7, expect: allow, rule: reads, db_role: reader }
  - { from: api, to: db, database: customers, expect: allow, role: api }
";

#[test]
fn check() {
    let run = signet(&["policy", "check", "-"], POLICY);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    let (head, digest) = run.out.trim_end().rsplit_once(' ').unwrap();
    assert_eq!(head, "standard input: 3 rules, 3 workloads, policy digest");
    assert_eq!(digest.len(), 64);

    let run = signet(&["policy", "check", "-", "-o", "json"], POLICY);
    assert_eq!(run.code, 0);
    assert_eq!(
        run.json(),
        json!({ "rules": 3, "workloads": 3, "tests": 2, "policy_digest": digest, "faults": [], "warning_count": 0, "warnings": [] })
    );
}

#[test]
fn check_tells_every_fault() {
    let two_faults = POLICY.replace("methods", "methodes").replace("[client]", "[clent]");
    let run = signet(&["policy", "check", "-"], &two_faults);
    assert_eq!((run.code, run.out.as_str()), (1, ""));
    for told in [
        "2 faults in standard input",
        "unknown workload `clent`",
        "did you mean `client`?",
        "unknown key `methodes` in an HTTP rule",
        "did you mean `methods`?",
        "standard input:5:",
    ] {
        assert!(run.err.contains(told), "{told}\n{}", run.err);
    }
    let run = signet(&["policy", "check", "-", "-o", "json"], &two_faults);
    assert_eq!((run.code, run.err.as_str()), (1, ""));
    let faults = &run.json()["faults"];
    assert_eq!(faults.as_array().unwrap().len(), 2);
    assert_eq!(faults[0]["line"], 5);
    assert_eq!(faults[0]["column"], 27);
    assert_eq!(faults[0]["message"], "unknown workload `clent`");
}

#[test]
fn files_that_are_not_there() {
    for (arguments, code) in [
        (&["policy", "check", "nowhere.yaml"][..], 1),
        (&["policy", "test", "nowhere.yaml"], 1),
        (&["policy", "compile", "nowhere.yaml", "--workload", "api"], 1),
        (
            &["policy", "decide", "nowhere.yaml", "--from", "a", "--to", "b", "--request", "GET /"],
            2,
        ),
    ] {
        let run = signet(arguments, "");
        assert_eq!(run.code, code, "{arguments:?}");
        assert!(
            run.err.starts_with("error: nowhere.yaml cannot be read: No such file"),
            "{}",
            run.err
        );
    }
}

#[test]
fn decide() {
    for (question, code, words) in [
        (
            &["--from", "client", "--to", "api", "--request", "GET /customers/7"][..],
            0,
            ["allow  client → api: GET /customers/7", "rule     reads", "db_role  reader"],
        ),
        (
            &[
                "--from",
                "/client",
                "--to",
                "spiffe://example.org/api",
                "--request",
                "GET /customers/7",
            ],
            0,
            [
                "allow  /client → spiffe://example.org/api: GET /customers/7",
                "rule     reads",
                "db_role  reader",
            ],
        ),
        (
            &["--from", "client", "--to", "api", "--request", "POST /customers/7"],
            1,
            ["deny  client → api: POST /customers/7", "rule     -", "reason   no_rule"],
        ),
        (
            &["--from", "api", "--to", "api", "--request", "GET /audit/1"],
            1,
            ["deny  api → api: GET /audit/1", "rule     no-audit", "reason   denied_by_rule"],
        ),
        (
            &["--from", "client", "--to", "api", "--request", "GET /customers/%2e%2e"],
            1,
            ["refuse  client → api", "rule     -", "reason   path_encoded_unreserved"],
        ),
        (
            &[
                "--from",
                "client",
                "--to",
                "api",
                "--request",
                "GET /customers/7",
                "--header",
                "x-original-url: /admin",
            ],
            1,
            ["refuse", "rule     -", "reason   override_header"],
        ),
        (
            &[
                "--from",
                "client",
                "--to",
                "api",
                "--request",
                "GET /customers/7",
                "--upgrade",
                "websocket",
            ],
            1,
            ["deny", "rule     -", "reason   no_rule"],
        ),
        (
            &[
                "--from",
                "client",
                "--to",
                "api",
                "--request",
                "GET /customers/7",
                "--host",
                "user@api",
            ],
            1,
            ["refuse", "rule     -", "reason   authority"],
        ),
        (
            &["--from", "api", "--to", "db", "--database", "customers"],
            0,
            ["allow  api → db: database customers", "rule     uses", "role     api"],
        ),
        (
            &["--from", "api", "--to", "db", "--database", "customers", "--user", "reader"],
            0,
            ["allow", "rule     uses", "role     reader"],
        ),
        (
            &["--from", "api", "--to", "db", "--database", "customers", "--user", "postgres"],
            1,
            ["deny", "rule     uses", "reason   user_not_allowed"],
        ),
        (
            &["--from", "api", "--to", "db", "--database", "other"],
            1,
            ["deny", "rule     -", "reason   database_not_allowed"],
        ),
        (
            &["--from", "client", "--to", "db", "--database", "customers"],
            1,
            ["deny", "rule     -", "reason   no_rule"],
        ),
        (
            &[
                "--from",
                "api",
                "--to",
                "db",
                "--database",
                "customers",
                "--parameter",
                "options=-c role=postgres",
            ],
            1,
            ["deny", "rule     uses", "reason   parameter_not_allowed"],
        ),
    ] {
        let run = signet(&[&["policy", "decide", "-"], question].concat(), POLICY);
        assert_eq!((run.code, run.err.as_str()), (code, ""), "{question:?}");
        for word in words {
            assert!(run.out.contains(word), "{question:?}: {word:?} in\n{}", run.out);
        }
    }
}

#[test]
fn decide_as_json() {
    let question =
        ["--from", "client", "--to", "api", "--request", "GET /customers/7", "-o", "json"];
    let run = signet(&[&["policy", "decide", "-"], &question[..]].concat(), POLICY);
    let found = run.json();
    assert_eq!(
        found,
        json!({
            "decision": "allow",
            "rule": "reads",
            "reason": "allowed",
            "db_role": "reader",
            "policy_digest": found["policy_digest"],
            "wasm_digest": found["wasm_digest"],
        })
    );
    assert_eq!(found["wasm_digest"].as_str().unwrap().len(), 64);
    let question = ["--from", "client", "--to", "db", "--database", "customers", "-o", "json"];
    let run = signet(&[&["policy", "decide", "-"], &question[..]].concat(), POLICY);
    let found = run.json();
    assert_eq!(found["decision"], "deny");
    assert_eq!(found["rule"], Value::Null);
    assert_eq!(found["role"], Value::Null);
}

#[test]
fn questions_that_have_no_decision() {
    for (question, told) in [
        (
            &["--from", "clent", "--to", "api", "--request", "GET /"][..],
            "unknown workload `clent`; did you mean `client`?",
        ),
        (&["--from", "**", "--to", "api", "--request", "GET /"], "`**` is not one SPIFFE ID"),
        (
            &["--from", "client", "--to", "api", "--request", "GET"],
            "--request is `GET`; a method, a space and a path",
        ),
        (
            &["--from", "client", "--to", "api", "--request", "GET /", "--header", "x"],
            "`--header x` has no `:`",
        ),
        (&["--from", "client", "--to", "api"], "--request"),
        (
            &["--from", "client", "--to", "api", "--request", "GET /", "--database", "d"],
            "cannot be used with",
        ),
        (
            &["--from", "client", "--to", "api", "--request", "GET /", "--user", "u"],
            "cannot be used with",
        ),
        (
            &["--from", "client", "--to", "api", "--request", "GET /", "--wasm-dir", "/nowhere"],
            "spiffe_authz.wasm was not found in /nowhere; build it with",
        ),
        (
            &["--from", "api", "--to", "db", "--database", "d", "--wasm-dir", "/nowhere"],
            "pg_role.wasm was not found in /nowhere",
        ),
        (
            &[
                "--from",
                "api",
                "--to",
                "db",
                "--database",
                "d",
                "--parameter",
                &format!("x={}", "y".repeat(10_000)),
            ],
            "Postgres accepts up to",
        ),
    ] {
        let run = signet(&[&["policy", "decide", "-"], question].concat(), POLICY);
        assert_eq!(run.code, 2, "{question:?}");
        assert!(run.err.contains(told), "{question:?}: {told:?} in\n{}", run.err);
    }
}

/// One line, which names the file, what is in it and what belongs there.
#[test]
fn files_that_are_no_filters() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("spiffe_authz.wasm");
    let question = ["--from", "client", "--to", "api", "--request", "GET /", "--wasm-dir"];
    let question = [&question[..], &[directory.path().to_str().unwrap()]].concat();
    for (content, found) in [
        (&b"# Signet\nIdentity for Envoy"[..], "it begins with `# Signet\\nIdentity for En`"),
        (b"", "it is empty"),
        (b"\0asm\x01\0\0\0", "it is WebAssembly that exports no `proxy_abi_version_0_2_1`"),
        (b"\0asm\x01\0\0\0\x01", "its WebAssembly can't be compiled, unexpected end"),
    ] {
        std::fs::write(&file, content).unwrap();
        let run = signet(&[&["policy", "decide", "-"], &question[..]].concat(), POLICY);
        assert_eq!((run.code, run.out.as_str()), (2, ""));
        let told =
            format!("error: the filter gave no decision: {} is no filter: {found}", file.display());
        assert!(run.err.starts_with(&told), "{told}\n{}", run.err);
        assert!(run.err.contains("; accepted is a module of proxy-wasm ABI 0.2.1"), "{}", run.err);
        assert_eq!(run.err.lines().count(), 1, "{}", run.err);
    }
}

#[test]
fn decide_many() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("policy.yaml"), POLICY).unwrap();
    let lines = [
        r#"{"from":"client","to":"api","request":"GET /customers/7","headers":{"x":["1","2"]}}"#,
        "",
        r#"{"from":"client","to":"api","request":"GET //"}"#,
        r#"{"from":"api","to":"db","database":"customers","user":"reader"}"#,
    ]
    .join("\n");
    let wasm =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/wasm32-unknown-unknown/filters");
    let arguments =
        ["policy", "decide", "policy.yaml", "--batch", "-", "--wasm-dir", wasm.to_str().unwrap()];
    let run = signet_in(directory.path(), &arguments, &lines);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    let found: Vec<Value> =
        run.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> =
        found.iter().map(|f| (&f["decision"], &f["rule"], &f["role"], &f["db_role"])).collect();
    let null = &Value::Null;
    assert_eq!(
        told,
        [
            (&json!("allow"), &json!("reads"), null, &json!("reader")),
            (&json!("refuse"), null, null, null),
            (&json!("allow"), &json!("uses"), &json!("reader"), null),
        ]
    );

    let run = signet_in(directory.path(), &arguments, &lines.replace("client", "clent"));
    assert_eq!(run.code, 2);
    let first: Value = serde_json::from_str(run.out.lines().next().unwrap()).unwrap();
    assert_eq!(first["line"], 1);
    assert_eq!(first["faults"][0]["message"], "`from`: unknown workload `clent`");
    assert_eq!(run.out.lines().count(), 3);
}

#[test]
fn test_runs_the_cases() {
    let run = signet(&["policy", "test", "-"], POLICY);
    assert_eq!(
        (run.code, run.out.as_str()),
        (
            0,
            "running 2 tests\n\
             test client → api: GET /customers/7 ... ok\n\
             test api → db: database customers ... ok\n\
             \n\
             test result: ok. 2 passed; 0 failed\n"
        )
    );

    let directory = tempfile::tempdir().unwrap();
    let cases = directory.path().join("cases.yaml");
    let cases = cases.to_str().unwrap();
    std::fs::write(
        cases,
        "- { from: client, to: api, request: GET /customers/7, expect: allow, rule: other, db_role: null }\n\
         - { from: client, to: api, request: GET /, expect: deny, rule: null }\n\
         - { from: api, to: db, database: customers, user: x, expect: allow }\n",
    )
    .unwrap();
    let run = signet(&["policy", "test", "-", cases], POLICY);
    assert_eq!(run.code, 1);
    assert_eq!(
        run.out,
        format!(
            "running 5 tests\n\
             test client → api: GET /customers/7 ... ok\n\
             test api → db: database customers ... ok\n\
             test client → api: GET /customers/7 ... FAILED\n\
             test client → api: GET / ... ok\n\
             test api → db: database customers as x ... FAILED\n\
             \n\
             failures:\n\
             \n  {cases}:1: client → api: GET /customers/7\n    expected  allow by other as none\n    \
             found     allow by reads as reader\n\
             \n  {cases}:3: api → db: database customers as x\n    expected  allow\n    \
             found     deny by uses (user_not_allowed)\n\
             \n\
             test result: FAILED. 3 passed; 2 failed\n"
        )
    );
    let run = signet(&["policy", "test", "-", cases, "-o", "json"], POLICY);
    let found = run.json();
    assert_eq!(run.code, 1);
    assert_eq!((&found["passed"], &found["failed"]), (&json!(3), &json!(2)));
    assert_eq!(found["cases"][2]["ok"], false);
    assert_eq!(found["cases"][2]["line"], 1);
    assert_eq!(found["cases"][2]["found"]["rule"], "reads");
}

#[test]
fn compile() {
    let run = signet(&["policy", "compile", "-", "--workload", "db"], POLICY);
    let slice = concat!(
        r#"{"format":1,"postgres":[{"databases":["customers"],"from":["spiffe://example.org/api"],"login_role":"api","#,
        r#""may_act_as":["reader"],"name":"uses"}],"workload":"spiffe://example.org/db"}"#,
    );
    assert_eq!((run.code, run.out, run.err.as_str()), (0, format!("{slice}\n"), ""));
    let run = signet(&["policy", "compile", "-", "--workload", "db", "--filter", "http"], POLICY);
    assert_eq!(run.out, "{\"format\":1,\"workload\":\"spiffe://example.org/db\"}\n");
    let run = signet(&["policy", "compile", "-", "--workload", "/other"], POLICY);
    assert_eq!(
        run.err,
        "note: no rule is for spiffe://example.org/other, so everything is denied there\n"
    );
    assert_eq!(run.code, 0);
    let run = signet(&["policy", "compile", "-", "--workload", "dbb"], POLICY);
    assert_eq!(run.code, 1);
    assert!(run.err.contains("did you mean `db`?"), "{}", run.err);
}

#[test]
fn the_demo_policy_holds() {
    let run = signet(&["policy", "test", "../examples/policies/demo.yaml"], "");
    assert_eq!(run.code, 0, "{}", run.out);
    assert!(run.out.ends_with("test result: ok. 16 passed; 0 failed\n"), "{}", run.out);
}

/// Each example's own tests hold, and nothing in it is to be warned of.
#[test]
fn the_example_policies_hold() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/policies");
    let mut count = 0;
    for entry in std::fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        let file = path.to_str().unwrap();
        let run = signet(&["policy", "test", file], "");
        assert_eq!(run.code, 0, "{file}\n{}{}", run.out, run.err);
        let run = signet(&["policy", "check", file, "--deny-warnings"], "");
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{file}\n{}", run.out);
        count += 1;
    }
    assert!(count >= 5, "{count}");
}

#[test]
fn help_teaches() {
    for command in ["check", "test", "decide", "explain", "diff", "who", "schema", "compile", "sql"]
    {
        let run = signet(&["policy", command, "--help"], "");
        assert_eq!(run.code, 0);
        for word in ["Examples:", "Exit codes:", "signet policy"] {
            assert!(run.out.contains(word), "{command}: {word}\n{}", run.out);
        }
    }
}

#[test]
fn a_directory_is_one_policy() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let run = signet_in(directory.path(), &["policy", "check", "."], "");
    assert_eq!(
        run.err,
        "error: . cannot be read: the directory has no *.yaml; a policy is a file, or a directory of such files\n"
    );
    let (names, rules) = POLICY.split_once("http:\n").unwrap();
    write("a.yaml", names);
    write("b.yaml", &format!("version: 1\ntrust_domain: example.org\nhttp:\n{rules}"));
    write("notes.txt", "no policy");
    write(".hidden.yaml", "no policy");
    let run = signet_in(directory.path(), &["policy", "check", "."], "");
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    assert!(run.out.starts_with(".: 3 rules, 3 workloads, policy digest "), "{}", run.out);
    assert_eq!(
        run.out.rsplit_once(' ').unwrap().1,
        signet(&["policy", "check", "-"], POLICY).out.rsplit_once(' ').unwrap().1
    );
    write("c.yaml", "version: 1\ntrust_domain: example.org\nhtpp: []\n");
    let run = signet_in(directory.path(), &["policy", "check", ".", "-o", "json"], "");
    assert_eq!(run.code, 1);
    let fault = &run.json()["faults"][0];
    assert_eq!((&fault["file"], &fault["line"]), (&json!("./c.yaml"), &json!(3)));
}
