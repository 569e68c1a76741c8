//! Several files that are one policy.

use signet_policy_document::{Faults, PolicyDocument};

use crate::{HEAD, shown};

/// Reads a directory of these files.
fn files(files: &[(&str, &str)]) -> Result<PolicyDocument, Faults> {
    let files = files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()));
    PolicyDocument::parse_files("policies", files.collect())
}

#[test]
fn several_files_are_one_policy() {
    let names = ("names.yaml", HEAD);
    let head = "version: 1\ntrust_domain: example.org\n";
    let rules = format!("{head}http: [{{ name: r, from: [client], to: [api] }}]\n");
    let more = format!(
        "{head}expiry_grace: 5s\npostgres: [{{ name: p, from: [api], to: [db], databases: [d], login_role: u }}]\n"
    );
    let document = files(&[names, ("http.yaml", &rules), ("postgres.yaml", &more)]).unwrap();
    assert_eq!((document.rule_count(), document.workloads().count()), (2, 3));
    assert_eq!(document.position(&document.http_rules()[0].place), ("http.yaml", 3));
    // The same meaning as in one file.
    let whole = format!("{HEAD}{}{}", &rules[head.len()..], &more[head.len()..]);
    assert_eq!(document.digest(), PolicyDocument::parse("p.yaml", &whole).unwrap().digest());

    for (other, told) in [
        (
            rules.as_str(),
            "b.yaml:3:16: two rules are named `r`; each rule has a name of its own, over HTTP and Postgres (first here: a.yaml:3:16)",
        ),
        (
            "version: 1\ntrust_domain: example.com\n",
            "b.yaml:2:15: `trust_domain` differs from that of another file; the files of one policy agree in it (first said here: names.yaml:2:15)",
        ),
        (
            "version: 1\n",
            "b.yaml:1:1: a policy has no key `trust_domain`; `trust_domain` is required",
        ),
        ("version: 2\ntrust_domain: example.org\n", "b.yaml:1:10: `version` is 2; accepted: 1"),
        (
            &format!("{head}workloads: {{ api: /other }}\n"),
            "b.yaml:3:14: workload `api` is named twice; name each once",
        ),
        (
            &format!("{head}http: ["),
            "b.yaml:3:7: the document is no YAML that can be read: unclosed bracket '['; other faults can be found once this one is repaired",
        ),
        (
            &format!("{head}http: [{{ name: s, from: [client], to: [api], db_role: x }}]\n"),
            "b.yaml:3:16: rules `r` and `s` tie: `GET /` of `spiffe://example.org/client` would get no role or `x`; make one of them narrower (path, caller, host, method, then other conditions), or give both the same `db_role` (and this one: a.yaml:3:16)",
        ),
    ] {
        let faults = files(&[names, ("a.yaml", &rules), ("b.yaml", other)]).unwrap_err();
        assert_eq!(faults.lines().collect::<Vec<_>>(), [told]);
        assert_eq!(faults.to_string(), "1 fault in policies");
        assert!(shown(&faults).contains("[b.yaml:"), "{}", shown(&faults));
    }
    let files = vec![("a".to_owned(), b"version".to_vec()), ("b".to_owned(), b"\xff".to_vec())];
    let faults = PolicyDocument::parse_files("policies", files).unwrap_err();
    assert_eq!(
        faults.lines().collect::<Vec<_>>(),
        ["b:1:1: byte 0 of the document is no UTF-8; a policy is written in UTF-8"]
    );
}
