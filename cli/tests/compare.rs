//! What `signet policy diff` and `who` say: the exact text is the test.

mod command;

use command::{signet, signet_in};

const POLICY: &str = "\
version: 1
trust_domain: example.org
workloads: { client: /client, api: /api, db: /db }
http:
  - { name: reads, from: [client, /ops/**], to: [api], methods: [GET], paths: ['/customers/{id}'], db_role: reader }
  - { name: any, from: ['**'], to: [api], paths: [/public/**] }
  - { name: no-ops, effect: deny, from: [/ops/**], to: [api] }
postgres:
  - { name: uses, from: [api], to: [db], databases: [customers], login_role: api, may_act_as: [reader] }
";

#[test]
fn differences() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("old.yaml", POLICY);
    let c = "spiffe://example.org/client → spiffe://example.org/api";
    for (from, to, expected) in [
        ("# ", "", "the same decisions\n".to_owned()),
        ("name: reads", "name: lectures", "the same decisions\n".to_owned()),
        ("[client, /ops/**]", "[/client]", "the same decisions\n".to_owned()),
        ("  - { name: any", "  - { name: s, mode: shadow, from: [client], to: [api] }\n  - { name: any", "the same decisions\n".to_owned()),
        ("methods: [GET]", "methods: [GET, PUT]", format!("+ {c}: PUT /customers/x\n    old  deny\n    new  allow by reads as reader\n")),
        ("db_role: reader }", "db_role: writer }", format!("~ {c}: GET /customers/x\n    old  allow by reads as reader\n    new  allow by reads as writer\n")),
        (
            "'/customers/{id}'",
            "/customers/7",
            format!("- {c}: GET /customers/x\n    old  allow by reads as reader\n    new  deny\n"),
        ),
        (
            "to: [api] }\npostgres",
            "to: [api], methods: [GET] }\npostgres",
            "+ spiffe://example.org/ops/x → spiffe://example.org/api: POST /public\n    old  deny by no-ops\n    new  allow by any\n".to_owned(),
        ),
        (
            "may_act_as: [reader]",
            "may_act_as: [writer]",
            "~ spiffe://example.org/api → spiffe://example.org/db: database customers\n    old  allow by uses as api (may act as reader)\n    new  allow by uses as api (may act as writer)\n".to_owned(),
        ),
        ("http:", "expiry_grace: 5s\nhttp:", "~ expiry_grace: 60s → 5s\n".to_owned()),
    ] {
        write("new.yaml", &POLICY.replacen(from, to, 1));
        let run = signet_in(directory.path(), &["policy", "diff", "old.yaml", "new.yaml", "--wasm-dir", &filters()], "");
        assert_eq!((run.out, run.err.as_str()), (expected.clone(), ""), "{from} → {to}");
        assert_eq!(run.code, i32::from(expected != "the same decisions\n"));
    }
    let run = signet_in(directory.path(), &["policy", "diff", "old.yaml", "nowhere.yaml"], "");
    assert_eq!((run.code, run.out.as_str()), (2, ""));
    write("new.yaml", &POLICY.replacen("[GET]", "[PUT]", 1));
    let arguments =
        ["policy", "diff", "old.yaml", "new.yaml", "-o", "json", "--wasm-dir", &filters()];
    let found = signet_in(directory.path(), &arguments, "").json();
    assert_eq!((&found["same"], found["changes"].as_array().unwrap().len()), (&false.into(), 2));
    assert_eq!(found["changes"][0]["old"]["role"], "reader");
}

/// Of thousands of changes the first are told and replayed, and all are counted.
#[test]
fn of_thousands_of_changes_the_first_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let head = "version: 1\ntrust_domain: example.org\nhttp:\n";
    let rule = |i: usize| format!("  - {{ name: r{i}, from: [/c], to: [/api], paths: [/p{i}] }}\n");
    let rules = |count: usize| head.to_owned() + &(0..count).map(rule).collect::<String>();
    write("old.yaml", &rules(1501));
    write("new.yaml", &rules(1));
    let arguments = ["policy", "diff", "old.yaml", "new.yaml", "--wasm-dir", &filters()];
    let run = signet_in(directory.path(), &arguments, "");
    assert_eq!((run.code, run.err.as_str()), (1, ""));
    assert_eq!(run.out.matches("\n    new  deny\n").count(), 1000);
    assert!(run.out.ends_with("    new  deny\n… and 500 more changes\n"), "{}", run.out);
    let found = signet_in(directory.path(), &[&arguments[..], &["-o", "json"]].concat(), "").json();
    assert_eq!(found["change_count"], 1500);
    assert_eq!(found["changes"].as_array().unwrap().len(), 1000);
}

fn filters() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../target/wasm32-unknown-unknown/filters").to_owned()
}

#[test]
fn who() {
    let api = "spiffe://example.org/api";
    for (question, expected) in [
        (
            &["--to", "api"][..],
            format!(
                "** → {api}\n    any method of /public/**, as no role, by any\n\
                 spiffe://example.org/client → {api}\n    GET of /customers/*, as reader, by reads\n"
            ),
        ),
        (
            &["--db-role", "reader"],
            format!(
                "spiffe://example.org/api → spiffe://example.org/db\n    database customers, as api or reader, by uses\n\
                 spiffe://example.org/client → {api}\n    GET of /customers/*, as reader, by reads\n"
            ),
        ),
        (&["--to", "client"], "nobody\n".to_owned()),
        (&["--db-role", "nobody"], "nobody\n".to_owned()),
    ] {
        let run = signet(&[&["policy", "who", "-"], question].concat(), POLICY);
        assert_eq!((run.code, run.out, run.err.as_str()), (0, expected, ""), "{question:?}");
    }
    let found = signet(&["policy", "who", "-", "--to", "db", "-o", "json"], POLICY).json();
    assert_eq!(found[0]["roles"], serde_json::json!(["api", "reader"]));
    assert_eq!(found[0]["proven"], true);
    assert_eq!(signet(&["policy", "who", "-"], POLICY).code, 2);
    assert_eq!(signet(&["policy", "who", "-", "--to", "x"], POLICY).code, 1);
}
