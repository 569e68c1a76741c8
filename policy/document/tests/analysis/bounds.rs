//! How much is done: what isn't found out is told as such.

use std::collections::BTreeSet;
use std::fmt::Write;

use signet_policy_document::PolicyDocument;

use crate::idle;

/// 2^7 denies that together cover an allow: more cases than are looked at, and nobody takes silence for proof.
#[test]
fn a_search_that_is_given_up_is_told() {
    const BITS: usize = 7;
    let mut text =
        "version: 1\ntrust_domain: a\nhttp:\n  - { name: all, from: [/c], to: [/api] }\n"
            .to_owned();
    for i in 0..1 << BITS {
        let word = |bit: usize| if i >> bit & 1 == 0 { "absent" } else { "present" };
        let headers: Vec<_> =
            (0..BITS).map(|bit| format!("h{bit}: {{ {}: true }}", word(bit))).collect();
        let headers = headers.join(", ");
        writeln!(
            text,
            "  - {{ name: d{i}, effect: deny, from: [/c], to: [/api], headers: {{ {headers} }} }}"
        )
        .unwrap();
    }
    let document = PolicyDocument::parse("p.yaml", &text).unwrap();
    let told: Vec<String> =
        document.warnings().into_iter().map(|warning| warning.fault.message).collect();
    assert_eq!(
        told,
        ["whether rule `all` ever decides isn't known: it overlaps others in too many ways"]
    );
    let who: Vec<_> = document
        .who(Some("spiffe://a/api"), None)
        .unwrap()
        .into_iter()
        .map(|access| (access.rule, access.is_proven))
        .collect();
    assert_eq!(who, [("all".to_owned(), false)]);
}

/// Rules that differ only in a host, a header, a claim, a port or a database: none is compared with all others more
/// than it takes to see that they have nothing in common.
#[test]
fn many_rules_of_the_same_callers_and_paths() {
    let policy = |rule: &dyn Fn(usize) -> String, count: usize| {
        let rules: Vec<String> =
            (0..count).map(|i| format!("  - {{ name: r{i}, {} }}\n", rule(i))).collect();
        let section = if rule(0).contains("databases") { "postgres" } else { "http" };
        let text = format!("version: 1\ntrust_domain: a\n{section}:\n{}", rules.concat());
        PolicyDocument::parse("p.yaml", &text).unwrap_or_else(|faults| panic!("{faults}"))
    };
    let http = |more: String, i: usize| format!("from: [/c], to: [/api], db_role: r{i}, {more}");
    let cases: [(&dyn Fn(usize) -> String, &str); 5] = [
        (&|i| http(format!("hosts: [h{i}.b]"), i), "GET / with host h7.b"),
        (&|i| http(format!("headers: {{ t: t{i} }}"), i), "GET / with t: t7"),
        (&|i| http(format!("jwt: {{ t: [t{i}, u{i}] }}"), i), "GET / with claim t=t7"),
        (&|i| http(format!("ports: [{}]", i + 1), i), "GET / with port 8"),
        (
            &|i| format!("from: ['/**'], to: [/db], databases: [d{i}], login_role: r{i}"),
            "database d7",
        ),
    ];
    for (rule, witness) in cases {
        let old = policy(rule, 500);
        let idle = idle(&old, &["never", "unreachable", "isn't known"]);
        assert_eq!(idle, BTreeSet::new());
        let other = |i| rule(i).replace("role: r7", "role: other");
        let difference = old.difference(&policy(&|i| if i == 7 { other(i) } else { rule(i) }, 500));
        let shown: Vec<&str> =
            difference.changes.iter().map(|change| change.case.title.as_str()).collect();
        assert!(matches!(shown[..], [title] if title.ends_with(witness)), "{shown:?}");
    }
}

/// Texts with these beginnings, as a list of YAML.
fn many(stem: &str, count: usize) -> String {
    (0..count).map(|i| format!("{stem}{i}")).collect::<Vec<_>>().join(", ")
}

/// A rule whose lists multiply to millions of alternatives is searched so far and no further, whatever is asked about it.
#[test]
fn long_lists_of_a_rule_that_never_decides() {
    let (callers, paths, hosts) = (many("/c/", 200), many("/p/", 200), many("h", 200));
    let text = format!(
        "version: 1\ntrust_domain: a\nhttp:
  - {{ name: long, from: ['**', {callers}], to: [/api], paths: [{paths}], hosts: [{hosts}] }}
  - {{ name: none, effect: deny, from: ['**'], to: [/api], paths: ['/p/**'] }}\n"
    );
    let document = PolicyDocument::parse("p.yaml", &text).unwrap();
    let warnings = document.warnings();
    let told: Vec<&str> = warnings.iter().map(|warning| warning.fault.message.as_str()).collect();
    let unknown = |what: &str| {
        format!("whether rule `long` {what} isn't known: it overlaps others in too many ways")
    };
    assert_eq!(told, [unknown("ever decides"), unknown("lets in workloads of every trust domain")]);
    let who = document.who(Some("spiffe://a/api"), None).unwrap();
    assert_eq!(who.len(), 201);
    assert!(who.iter().all(|access| !access.is_proven), "{who:?}");
    let what = &who[0].what;
    assert!(what.contains("/p/115, 180 more; hosts h0,") && what.len() < 1000, "{what}");
}

/// Each destination of a rule is asked about, and the rules that are near it are looked for once; those of one rule are
/// not compared with each of another.
#[test]
fn long_lists_of_destinations() {
    let rule = |name: &str| {
        let destinations = many(&format!("/{name}"), 1000);
        format!(
            "  - {{ name: {name}, from: [/c], to: [{destinations}], paths: [/p], db_role: {name} }}\n"
        )
    };
    let text = format!("version: 1\ntrust_domain: a\nhttp:\n{}{}", rule("d"), rule("e"));
    let document = PolicyDocument::parse("p.yaml", &text).unwrap();
    let warnings = document.warnings();
    let told: Vec<_> = warnings.iter().map(|warning| &warning.fault.message[..47]).collect();
    let expected = ["d", "e"].map(|name| {
        format!("no postgres rule lets spiffe://a/{name}0, spiffe://a/{name}1, ")[..47].to_owned()
    });
    assert_eq!(told, expected);
    assert!(warnings.iter().all(|warning| warning.witnesses.len() == 1), "{warnings:?}");
}

/// Of many destinations each is looked up among the callers of the postgres rules: what is said of each is known.
#[test]
fn many_destinations_that_are_callers_of_postgres() {
    let spread = many("/d", 5000);
    let text = format!(
        "version: 1\ntrust_domain: a\nhttp:
  - {{ name: given, from: [/c], to: [{spread}], db_role: r }}
  - {{ name: taken, from: [/e], to: [{spread}], db_role: q }}
postgres:
  - {{ name: p, from: [{spread}], to: [/db], databases: [d], login_role: r }}
  - {{ name: s, from: [{spread}], to: [/db], databases: [e], login_role: s, may_act_as: [t] }}\n"
    );
    let document = PolicyDocument::parse("p.yaml", &text).unwrap();
    let warnings = document.warnings();
    let told: Vec<_> = warnings.iter().map(|warning| &warning.fault.message[..47]).collect();
    assert_eq!(told, ["no postgres rule lets spiffe://a/d0, spiffe://a"]);
    assert_eq!(warnings[0].witnesses.len(), 2, "{warnings:?}");
}

/// Lists of hosts, exact ones and wildcards, that have nothing in common, but for one.
#[test]
fn long_lists_of_hosts() {
    let rule = |name: &str, hosts: &str, more: &str| {
        format!("  - {{ name: {name}, from: [/c], to: [/api], hosts: [{hosts}]{more} }}\n")
    };
    let (g, h) = (many("g", 5000), many("h", 5000));
    let below = (0..5000).map(|i| format!("'*.i{i}.b'")).collect::<Vec<_>>().join(", ");
    let rules = [
        rule("g", &g, ", db_role: g"),
        rule("h", &h, ", db_role: h"),
        rule("i", &below, ", db_role: i"),
        rule("one", "g7", ", methods: [GET], db_role: g"),
        rule("none", "i7.b, g7", ", effect: deny"),
    ];
    let policy = |rules: &[String]| {
        let postgres = "postgres: [{ name: p, from: [/api], to: [/db], databases: [d], login_role: g, may_act_as: [h, i] }]";
        let text = format!("version: 1\ntrust_domain: a\n{postgres}\nhttp:\n{}", rules.concat());
        PolicyDocument::parse("p.yaml", &text)
    };
    let warnings = policy(&rules).unwrap().warnings();
    let told: Vec<_> = warnings.iter().map(|warning| warning.fault.message.as_str()).collect();
    assert_eq!(told, ["rule `one` never allows: all that it matches is denied by `none`"]);
    let tied = rules[1].replace("h4321,", "h4321, g4321,").replace("name: h", "name: tied");
    let faults = policy(&[rules[0].clone(), tied]).unwrap_err();
    let told = faults.lines().next().unwrap();
    assert!(told.contains("rules `g` and `tied` tie: `GET / with host g4321`"), "{told}");
}

/// Rules of which each has many callers in common with each other: not all combinations of these are tried.
#[test]
fn long_lists_of_many_rules() {
    let pattern = |bits: usize| (0..5).map(|bit| ["/*", "/a"][bits >> bit & 1]).collect::<String>();
    let callers = (0..1 << 5).map(pattern).collect::<Vec<_>>().join("', '");
    let policy = |methods: &str| {
        let mut text = "version: 1\ntrust_domain: a\nhttp:
  - { name: d, effect: deny, from: ['/**'], to: [/api], methods: [PUT] }\n"
            .to_owned();
        for i in 0..4 {
            let headers: Vec<_> = (0..=i).map(|h| format!("h{h}: {{ present: true }}")).collect();
            let headers = headers.join(", ");
            writeln!(
                text,
                "  - {{ name: r{i}, from: ['{callers}'], to: [/api], methods: {methods}, headers: {{ {headers} }}, db_role: r{i} }}"
            )
            .unwrap();
        }
        PolicyDocument::parse("p.yaml", &text).unwrap()
    };
    let difference = policy("[GET]").difference(&policy("[GET, PUT]"));
    assert!(difference.changes.is_empty() && !difference.unknown.is_empty(), "{difference:?}");
}

/// Each caller of a rule can reach each of its destinations: of very many it is told how many they are.
#[test]
fn more_callers_and_destinations_than_are_told() {
    let (callers, destinations) = (many("/c/", 1000), many("/d/", 201));
    let text = format!(
        "version: 1\ntrust_domain: a\nhttp:\n  - {{ name: r, from: [{callers}], to: [{destinations}] }}\n"
    );
    let document = PolicyDocument::parse("p.yaml", &text).unwrap();
    let told = document.who(None, None).unwrap_err().to_string();
    assert_eq!(told, "201000 pairs of a caller and a destination, and at most 200000 are told");
    assert_eq!(document.who(Some("spiffe://a/d/7"), None).unwrap().len(), 1000);
}
