//! Who calls: each caller with each path that is open to some callers only.

use crate::case::Case;

/// A caller, and the paths that it reaches besides `/public`, which is also the name of the rule.
const CALLERS: &[(&str, &[&str])] = &[
    ("spiffe://example.org/ns/client-ns/sa/client", &["namespace", "team", "new-domain"]),
    ("spiffe://example.org/ns/client-ns/sa/other", &["namespace", "team"]),
    ("spiffe://example.org/ns/client-ns/sa/client2", &["namespace", "team"]),
    ("spiffe://example.org/ns/client-ns/sa/Client", &["namespace", "team"]),
    ("spiffe://example.org/ns/client-ns/sa/client/x", &["team"]),
    ("spiffe://example.org/ns/client-ns/sa", &["team"]),
    ("spiffe://example.org/ns/client-ns/x", &["team"]),
    ("spiffe://example.org/ns/client-ns/SA/client", &["team"]),
    ("spiffe://example.org/ns/client-ns", &[]),
    ("spiffe://example.org/ns/client-nss/sa/client", &[]),
    ("spiffe://example.org/ns/client-n/sa/client", &[]),
    ("spiffe://example.org/ns/Client-ns/sa/client", &[]),
    ("spiffe://example.org/sa/client", &[]),
    ("spiffe://example.org/x/ns/client-ns/sa/client", &[]),
    // The alias is a trust domain of `/…` patterns, never of `spiffe://…` patterns.
    ("spiffe://old.example.org/ns/client-ns/sa/client", &["namespace", "team"]),
    ("spiffe://old.example.org/ns/client-ns/x", &["team"]),
    ("spiffe://older.example.org/ns/client-ns/sa/client", &[]),
    ("spiffe://xexample.org/ns/client-ns/sa/client", &[]),
    ("spiffe://example.org.evil.net/ns/client-ns/sa/client", &[]),
    ("spiffe://example.orgx/ns/client-ns/sa/client", &[]),
    ("spiffe://other.example/ns/monitoring/sa/prometheus", &["metrics"]),
    ("spiffe://other.example/ns/a.b_c-1/sa/prometheus", &["metrics"]),
    ("spiffe://other.example/ns/sa/prometheus", &[]),
    ("spiffe://other.example/ns/a/b/sa/prometheus", &[]),
    ("spiffe://other.example/ns/monitoring/sa/prometheus2", &[]),
    ("spiffe://other.example/ns/client-ns/sa/client", &[]),
    ("spiffe://example.org/ns/monitoring/sa/prometheus", &[]),
    ("spiffe://example.org/ns/ops/sa/cert-manager.io", &["certificates"]),
    ("spiffe://example.org/ns/ops/sa/cert-manager-io", &[]),
    ("spiffe://example.org/ns/ops/sa/cert-managerXio", &[]),
    ("spiffe://example.org/ns/malicious2/sa/evil", &[]),
    ("spiffe://example.org/ns/maliciou/sa/evil", &[]),
];

/// Callers whom a deny keeps from `/public`, and who reach nothing else.
const MALICIOUS: &[&str] = &[
    "spiffe://example.org/ns/malicious/sa/evil",
    "spiffe://example.org/ns/malicious/x",
    "spiffe://example.org/ns/malicious/sa/evil/x",
    "spiffe://old.example.org/ns/malicious/sa/evil",
];

/// What is no identity: denied everywhere.
const NOBODY: &[&str] = &[
    "",
    "-",
    "spiffe://example.org",
    "spiffe://example.org/",
    "spiffe://example.org//ns",
    "spiffe://example.org/ns/client-ns/sa/client/",
    "spiffe://example.org/ns/./sa/client",
    "spiffe://example.org/ns/../sa/client",
    "spiffe://example.org/ns/client-ns/sa/client?x",
    "spiffe://example.org/ns/client-ns/sa/client#x",
    "spiffe://example.org/ns/client-ns/sa/cli%65nt",
    "spiffe://example.org/ns/client-ns/sa/client x",
    "spiffe://Example.org/ns/client-ns/sa/client",
    "spiffe://example.org:443/ns/client-ns/sa/client",
    "spiffe://user@example.org/ns/client-ns/sa/client",
    "SPIFFE://example.org/ns/client-ns/sa/client",
    "https://example.org/ns/client-ns/sa/client",
    "spiffe:/example.org/ns/client-ns/sa/client",
    "example.org/ns/client-ns/sa/client",
    "spiffe://example.org/ns/client-ns/sa/client|",
    "spiffe://example.org/ns/client-ns/sa/client,",
    ",spiffe://example.org/ns/client-ns/sa/client",
    "spiffe://example.org/ns/client-ns/sa/client,spiffe://example.org/ns/client-ns/sa/client",
    "spiffe://example.org/ns/client-ns/sa/client,spiffe://other.example/x",
    "spiffe://other.example/x,spiffe://example.org/ns/client-ns/sa/client",
    "spiffe://example.org/ns/client-ns/sa/client,https://example.org",
    "**",
    "*",
];

/// What listens in Envoy are certificates of these trust domains; others have no CA there.
const TRUSTED: &[&str] = &["spiffe://example.org/", "spiffe://other.example/"];

const PATHS: &[&str] = &["namespace", "team", "new-domain", "metrics", "certificates", "customers"];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut put = |from: &str, path: &str, decide: &dyn Fn(Case) -> Case| {
        let case = Case::new(format!("{from} {path}"), "GET", format!("/{path}")).from(from);
        let trusted = TRUSTED.iter().any(|domain| from.starts_with(domain));
        let case = if trusted { case } else { case.over("filter") };
        cases.push(decide(case));
    };
    for (from, reached) in CALLERS {
        for path in PATHS {
            put(from, path, &|case| match *path {
                "customers"
                    if from.ends_with("example.org/ns/client-ns/sa/client")
                        && reached.contains(&"team") =>
                {
                    case.allowed("customers", Some("customers_reader"))
                }
                path if reached.contains(&path) => case.allowed(path, None),
                _ => case,
            });
        }
        put(from, "public", &|case| case.allowed("public", None));
    }
    for from in MALICIOUS {
        for path in PATHS {
            put(from, path, &|case| case);
        }
        put(from, "public", &|case| case.denied("no-malice"));
    }
    for from in NOBODY {
        for path in ["public", "customers", "files/secret"] {
            put(from, path, &|case| case.over("filter"));
        }
    }
    // These certificates are minted too.
    for second in ["spiffe://other.example/x", "spiffe://example.org/b", "https://example.org"] {
        let sans = format!("{},{second}", crate::case::CLIENT);
        cases.push(Case::new(format!("certificate of {sans}"), "GET", "/public").from(sans));
    }
    cases
}
