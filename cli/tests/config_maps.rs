//! `signet policy compile --all -o configmaps`: what Kubernetes would read is what `compile` prints.

mod command;

use command::signet;
use serde_json::Value;

const POLICY: &str = "\
version: 1
trust_domain: example.org
workloads: { client: /ns/clients/sa/client, api: /ns/apis/sa/api, other: /ns/apis/sa/Other_one, db: /db }
http:
  - { name: reads, from: [client], to: [/ns/apis/sa/*], methods: [GET], paths: ['/customers/{id}', \"/\\u2028\\\"x\"] }
  - { name: far, from: [client], to: ['/ns/far/sa/*'] }
postgres:
  - { name: uses, from: [api], to: [db], databases: [customers], login_role: api }
";

fn compile(arguments: &[&str], policy: &str) -> command::Run {
    signet(&[&["policy", "compile", "-"], arguments].concat(), policy)
}

fn documents(text: &str) -> Vec<Value> {
    let parts = text.split("---\n").filter(|part| !part.is_empty());
    parts.map(|part| serde_saphyr::from_str(part).unwrap()).collect()
}

#[test]
fn every_slice_is_a_config_map() {
    let run = compile(&["--all", "-o", "configmaps"], POLICY);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(
        run.err,
        "note: spiffe://example.org/ns/far/sa/* fits no identity that the policy names; compile those with --workload\n"
    );
    let digest =
        signet(&["policy", "check", "-", "-o", "json"], POLICY).json()["policy_digest"].clone();
    let found = documents(&run.out);
    let mut names = Vec::new();
    for map in &found {
        assert_eq!((&map["apiVersion"], &map["kind"]), (&"v1".into(), &"ConfigMap".into()));
        let annotations = &map["metadata"]["annotations"];
        assert_eq!(annotations["signet-policy-digest"], digest);
        let workload = annotations["signet-workload"].as_str().unwrap();
        let slice = compile(&["--workload", workload], POLICY).out;
        assert_eq!(map["data"]["policy.json"].as_str(), Some(slice.trim_end()), "{workload}");
        let name = map["metadata"]["name"].as_str().unwrap();
        let valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        assert!(name.len() <= 63 && name.bytes().all(valid), "{name}");
        names.push((workload.to_owned(), map["metadata"]["namespace"].as_str()));
    }
    let expected = [
        ("spiffe://example.org/db", None),
        ("spiffe://example.org/ns/apis/sa/Other_one", Some("apis")),
        ("spiffe://example.org/ns/apis/sa/api", Some("apis")),
    ];
    assert_eq!(names, expected.map(|(id, namespace)| (id.to_owned(), namespace)));

    // The same slices, a line each.
    let lines = compile(&["--all"], POLICY).out;
    assert_eq!(lines.lines().count(), 3);
    let one = compile(&["--workload", "db", "-o", "configmaps", "--filter", "http"], POLICY);
    assert_eq!(
        documents(&one.out)[0]["data"]["policy.json"],
        "{\"format\":1,\"workload\":\"spiffe://example.org/db\"}"
    );
}

#[test]
fn names_that_fold_into_one_stay_apart() {
    let policy = "version: 1\ntrust_domain: example.org\nhttp:\n  - { name: a, from: [/x], to: [/a_b, /a-b, /A-b] }\n";
    let run = compile(&["--all", "-o", "configmaps"], policy);
    let mut names: Vec<String> =
        documents(&run.out).iter().map(|map| map["metadata"]["name"].to_string()).collect();
    names.dedup();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn a_slice_larger_than_a_config_map_is_refused() {
    let path = |i: usize| format!("/{}/{i}", "x".repeat(1000));
    let policy = |count: usize| {
        let paths: Vec<String> = (0..count).map(path).collect();
        format!(
            "version: 1\ntrust_domain: example.org\nhttp:\n  - {{ name: a, from: [/client], to: [/api], paths: [{}] }}\n",
            paths.join(", ")
        )
    };
    let fits = compile(&["--all", "-o", "configmaps"], &policy(900));
    assert_eq!(fits.code, 0, "{}", fits.err);
    let run = compile(&["--all", "-o", "configmaps"], &policy(1100));
    assert_eq!((run.code, run.out.as_str()), (1, ""));
    assert!(run.err.contains("the slice of spiffe://example.org/api has 1"), "{}", run.err);
    assert!(run.err.contains("bytes, and a ConfigMap holds at most 1048576; "), "{}", run.err);
    assert_eq!(compile(&["--all"], &policy(1100)).code, 0);
}
