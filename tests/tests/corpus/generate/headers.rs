//! Headers: conditions, overrides, and forgeries of what only the filter may say.

use super::KNOWN;
use crate::case::Case;

/// Lines of a header, and whether they reach the rule.
type Lines = (&'static [&'static str], bool);

const TENANT: &[Lines] = &[
    (&["acme"], true),
    (&["umbrella"], true),
    (&["acme", "umbrella"], true),
    (&["acme", "acme"], true),
    (&[], false),
    (&[""], false),
    (&["Acme"], false),
    (&["acmee"], false),
    (&["acm"], false),
    (&["acme", "evil"], false),
    (&["evil", "acme"], false),
    (&["acme,umbrella"], false),
    (&["acme, evil"], false),
    (&["acme;q=1"], false),
    (&["\"acme\""], false),
    (&["acme", ""], false),
    (&["*"], false),
    (&["acme", "acme", "acme", "evil"], false),
    (&["acme,"], false),
];

/// Lines of `x-debug`, and whether the deny lets them through.
const DEBUG: &[Lines] = &[
    (&[], true),
    (&["0"], true),
    (&[""], true),
    (&["11"], true),
    (&["1x"], true),
    (&["True"], true),
    (&["0, 2"], true),
    (&["1;q=1"], true),
    (&["0 1"], true),
    (&["1"], false),
    (&["true"], false),
    (&["0", "1"], false),
    (&["1", "0"], false),
    (&["0,1"], false),
    (&["0, 1"], false),
    (&["1,0"], false),
    (&["1 , 0"], false),
    (&["0,\t1\t,2"], false),
    (&["0", "2", "true"], false),
    (&["0,0,0,0,0,0,1"], false),
    (&[",1"], false),
    (&["1,"], false),
    (&["0", "x,true"], false),
];

const OVERRIDES: &[&str] = &[
    "x-original-url",
    "x-rewrite-url",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
];

/// What only the filter says, or Envoy.
const FORGERIES: &[(&str, &str)] = &[
    ("x-db-role", "postgres"),
    ("x-spiffe-id", "spiffe://example.org/ns/admin/sa/admin"),
    ("x-signet-rule", "forged"),
    ("x-envoy-original-path", "/public"),
    ("x-envoy-upstream-alt-stat-name", "x"),
    ("x-forwarded-client-cert", "URI=spiffe://example.org/ns/admin/sa/admin"),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let with = |path: &str, name: &str, lines: &[&str]| {
        let mut case = Case::new(format!("{path} {name}={lines:?}"), "GET", path);
        for line in lines {
            case = case.header(name, *line);
        }
        case
    };
    for (lines, reaches) in TENANT {
        for name in ["x-tenant", "X-Tenant", "X-TENANT"] {
            let case = with("/tenant", name, lines);
            // HTTP/2 has names in lower case only.
            let case = if name == "x-tenant" { case } else { case.over("h1") };
            cases.push(if *reaches { case.allowed("tenant", Some("tenant_reader")) } else { case });
        }
    }
    for (lines, passes) in DEBUG {
        let case = with("/debug", "x-debug", lines);
        cases.push(if *passes { case.allowed("debug", None) } else { case.denied("no-debug") });
    }
    for lines in [&["1"][..], &[""], &["a", "b"]] {
        cases.push(with("/traced", "x-trace", lines).allowed("traced", None));
        cases.push(with("/modern", "x-legacy", lines));
    }
    cases.push(with("/traced", "x-trace2", &["1"]));
    cases.push(with("/traced", "x-trac", &["1"]));
    cases.push(with("/modern", "x-legacy2", &["1"]).allowed("modern", None));
    for octets in [&b"\xff"[..], b"acme\xff", b"\xc3\xa9", b"\x80"] {
        let case = Case::new(format!("/tenant {}", octets.escape_ascii()), "GET", "/tenant");
        cases.push(case.header("x-tenant", octets));
        let case = Case::new(format!("/traced {}", octets.escape_ascii()), "GET", "/traced");
        cases.push(case.header("x-trace", octets).allowed("traced", None));
    }
    for known in KNOWN {
        let path = format!("/{}", known.path);
        for name in OVERRIDES {
            let underscores = name.replace('-', "_");
            let mixed = name.replacen('-', "_", 1);
            for name in [*name, &underscores, &mixed] {
                let case = with(&path, name, &["/public"]);
                let id = format!("{} {}", known.method, case.id);
                cases.push(Case { method: known.method.into(), id, ..case }.refused());
            }
        }
        for (name, value) in FORGERIES {
            let underscores = name.replace('-', "_");
            for name in [*name, &underscores] {
                let case = with(&path, name, &[value]);
                let id = format!("{} {}", known.method, case.id);
                let mut case = Case { method: known.method.into(), id, ..case };
                // Our names with underscores are removed, but Envoy refuses any name with one.
                case.envoy_stops = name.contains('_');
                cases.push(known.decide(case));
            }
        }
    }
    order(&mut cases);
    cases
}

/// What outweighs what.
fn order(cases: &mut Vec<Case>) {
    let full = |path: &str| {
        Case::new(format!("order {path}"), "GET", format!("/order/{path}"))
            .authority("api.example.org")
            .header("x-trace", "1")
            .header("x-tenant", "acme")
    };
    for (path, rule) in [
        ("path/x", "order-path-heavy"),
        ("from", "order-from-heavy"),
        ("host", "order-host-heavy"),
        ("method", "order-method-heavy"),
        ("condition", "order-condition-heavy"),
        ("name", "order-name-a"),
    ] {
        cases.push(full(path).allowed(rule, None));
    }
    let light = |id: &str, case: Case, rule: &str| {
        Case { id: format!("order {id}"), ..case }.allowed(rule, Some("light"))
    };
    cases.push(light("other path", full("path/y"), "order-path-light"));
    let other_caller = full("from").from("spiffe://example.org/ns/client-ns/sa/other");
    cases.push(light("other caller", other_caller, "order-from-light"));
    cases.push(light("other host", full("host").authority("b.example.org"), "order-host-light"));
    cases.push(light(
        "other method",
        Case { method: b"PUT".to_vec(), ..full("method") },
        "order-method-light",
    ));
    let fewer = Case { headers: vec![(b"x-trace".to_vec(), b"1".to_vec())], ..full("condition") };
    cases.push(light("fewer conditions", fewer, "order-condition-light"));
}
