//! Weight: a policy in which every combination of a path, a caller, a host and methods is a rule with a role of its own.
//! Then the heaviest match is the heaviest of each, and a person can read it off these tables.

use std::fmt::Write as _;

use crate::case::Case;

/// The alternatives of each kind, by the name that they give their rules.
const PATHS: &[(&str, &str)] = &[
    ("ab", "paths: [/a/b]"),
    ("a1", "paths: [\"/a/*\"]"),
    ("a0", "paths: [/a/**]"),
    ("1b", "paths: [\"/{x}/b\"]"),
    ("0", "paths: [/**]"),
    ("none", ""),
];
const CALLERS: &[(&str, &str)] =
    &[("client", "/ns/c/sa/client"), ("one", "/ns/c/sa/*"), ("rest", "/ns/c/**"), ("all", "**")];
const HOSTS: &[(&str, &str)] = &[
    ("exact", "hosts: [a.b.org]"),
    ("two", "hosts: [\"*.b.org\"]"),
    ("org", "hosts: [\"*.org\"]"),
    ("none", ""),
];
const METHODS: &[(&str, &str)] = &[("get", "methods: [GET]"), ("any", "")];

/// A path and the heaviest alternative that holds it; and so on.
const ASKED_PATHS: &[(&str, &str)] = &[
    ("/a/b", "ab"),
    ("/a/b/", "ab"),
    ("/a/c", "a1"),
    ("/a", "a0"),
    ("/a/", "a0"),
    ("/a/b/c", "a0"),
    ("/x/b", "1b"),
    ("/x/y", "0"),
    ("/", "0"),
    ("/x/b/c", "0"),
    ("*", "none"),
];
const ASKED_BY: &[(&str, &str)] = &[
    ("spiffe://example.org/ns/c/sa/client", "client"),
    ("spiffe://example.org/ns/c/sa/other", "one"),
    ("spiffe://example.org/ns/c/x", "rest"),
    ("spiffe://example.org/ns/c/sa/client/x", "rest"),
    ("spiffe://example.org/ns/d/sa/client", "all"),
    ("spiffe://example.org/x", "all"),
];
const ASKED_HOSTS: &[(&str, &str)] = &[
    ("a.b.org", "exact"),
    ("A.B.org.:80", "exact"),
    ("c.b.org", "two"),
    ("x.c.b.org", "two"),
    ("b.org", "org"),
    ("api", "none"),
];
const ASKED_METHODS: &[(&str, &str)] = &[("GET", "get"), ("POST", "any"), ("OPTIONS", "any")];

/// The policy's text.
pub(crate) fn policy() -> String {
    let mut text = String::from(
        "# Generated: see tests/corpus/README.md.\nversion: 1\ntrust_domain: example.org\nworkloads: { api: /ns/api-ns/sa/api }\nhttp:\n",
    );
    let rule = "  - { name: which-policy, from: [\"**\"], to: [api], methods: [GET], paths: [/which-policy/weight], hosts: [which.policy] }\n";
    text.push_str(rule);
    for (path, paths) in PATHS {
        for (caller, from) in CALLERS {
            for (host, hosts) in HOSTS {
                for (method, methods) in METHODS {
                    let name = format!("{path}-{caller}-{host}-{method}");
                    let mut conditions = String::new();
                    for condition in [paths, hosts, methods].iter().filter(|c| !c.is_empty()) {
                        conditions += ", ";
                        conditions += condition;
                    }
                    let _ = writeln!(
                        text,
                        "  - {{ name: {name}, from: [\"{from}\"], to: [api]{conditions}, db_role: r-{name} }}"
                    );
                }
            }
        }
    }
    text
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (path, p) in ASKED_PATHS {
        for (from, f) in ASKED_BY {
            for (host, h) in ASKED_HOSTS {
                for (method, m) in ASKED_METHODS {
                    let case = Case::new(format!("{method} {host}{path} by {from}"), method, *path);
                    let case = case.from(*from).authority(*host);
                    let rule = format!("{p}-{f}-{h}-{m}");
                    // The bootstrap's route is for paths: `*` has nowhere to go.
                    let case = Case { envoy_stops: (*path, *method) == ("*", "OPTIONS"), ..case };
                    cases.push(if *path == "*" && *method != "OPTIONS" {
                        case.refused()
                    } else {
                        case.allowed(&rule, Some(&format!("r-{rule}")))
                    });
                }
            }
        }
    }
    cases
}
