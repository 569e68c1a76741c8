//! The analysis against a count of everything: over small policies of a small world, each request is
//! decided by the policy crate, and a rule is idle exactly where it decides none of them.

use std::collections::BTreeSet;
use std::fmt::Write;

use signet_policy::{Header, HttpDecision, HttpRequest, Policy, SpiffeId, StartupRequest};
use signet_policy_document::{PolicyDocument, Verdict};

const API: &str = "spiffe://a/api";

/// A sequence of numbers that is the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

fn http_policy(numbers: &mut Numbers) -> String {
    let mut text = "version: 1\ntrust_domain: a\nhttp:\n".to_owned();
    for i in 0..4 + numbers.below(4) {
        let effect = numbers.one(&["allow", "allow", "deny"]);
        let from = numbers.one(&["[/c]", "['/*']", "[/**]", "['**']", "[/c, /d]", "['/*/**', /c]"]);
        let paths = numbers.one(&[
            "",
            "paths: [/]",
            "paths: [/p]",
            "paths: ['/*']",
            "paths: [/**]",
            "paths: [/p/**]",
            "paths: ['/*/**', /p]",
            "paths: ['*', /p]",
        ]);
        let methods = numbers.one(&[
            "",
            "",
            "methods: [GET]",
            "methods: [GET, OPTIONS]",
            "methods: [OPTIONS]",
        ]);
        let hosts = numbers.one(&[
            "",
            "",
            "",
            "",
            "",
            "hosts: ['*.b']",
            "hosts: [a.b, '*.b']",
            "hosts: [a.b]",
        ]);
        let ports = numbers.one(&["", "", "", "", "", "ports: [1]", "ports: [1, 2]"]);
        let upgrades = numbers.one(&["", "", "", "", "", "", "upgrades: [w]", "upgrades: [w, v]"]);
        let headers = numbers.one(&[
            "",
            "",
            "",
            "",
            "",
            "",
            "headers: { h: x }",
            "headers: { h: [x, y] }",
            "headers: { h: { present: true } }",
            "headers: { h: { absent: true } }",
        ]);
        let role = if effect == "deny" { "" } else { "db_role: r" };
        let keys: Vec<&str> = [paths, methods, hosts, ports, upgrades, headers, role]
            .into_iter()
            .filter(|key| !key.is_empty())
            .collect();
        writeln!(
            text,
            "  - {{ name: r{i}, effect: {effect}, from: {from}, to: [/api], {} }}",
            keys.join(", ")
        )
        .unwrap();
    }
    text.replace(", ,", ",").replace(",  }", " }")
}

/// The names of the rules that decide about some request of the small world.
fn deciding(document: &PolicyDocument) -> BTreeSet<String> {
    let policy = Policy::compile(document.slice_for(SpiffeId::parse(API).unwrap()));
    let mut names = BTreeSet::new();
    each_request(|from, request| {
        names.extend(policy.decide_http(Ok(from), request).rule().map(str::to_owned));
    });
    names
}

/// All requests of the small world.
fn each_request(mut visit: impl FnMut(SpiffeId<'_>, &HttpRequest<'_>)) {
    let targets = ["/", "/p", "/q", "/p/q", "/q/p", "/p/q/q", "/q/q/q"];
    let asks = targets.iter().flat_map(|path| [("GET", *path), ("OPTIONS", *path), ("PUT", *path)]);
    for (method, path) in asks.chain([("OPTIONS", "*")]) {
        for from in [
            "spiffe://a/c",
            "spiffe://a/d",
            "spiffe://a/e",
            "spiffe://a/e/f",
            "spiffe://z/c",
            "spiffe://z/e/f",
        ] {
            for host in ["", "a.b", "c.b", "z"] {
                for port in [None, Some(1), Some(3)] {
                    for upgrade in ["", "w", "z"] {
                        for values in
                            [&[][..], &["x"], &["y"], &["z"], &["x", "y"], &["x", "z"], &["y", "z"]]
                        {
                            let mut headers: Vec<Header<'_>> = vec![
                                (b":method", method.as_bytes()),
                                (b":path", path.as_bytes()),
                                (b":authority", host.as_bytes()),
                            ];
                            if !upgrade.is_empty() {
                                headers.push((b"upgrade", upgrade.as_bytes()));
                            }
                            headers
                                .extend(values.iter().map(|value| (&b"h"[..], value.as_bytes())));
                            let request =
                                HttpRequest { headers: &headers, port, ..HttpRequest::default() };
                            visit(SpiffeId::parse(from).unwrap(), &request);
                        }
                    }
                }
            }
        }
    }
}

/// The names of the rules that the analysis calls idle.
fn idle(document: &PolicyDocument, kinds: &[&str]) -> BTreeSet<String> {
    let warnings = document.warnings();
    let of_kind =
        warnings.iter().filter(|w| kinds.iter().any(|kind| w.fault.message.contains(kind)));
    of_kind.map(|w| w.fault.message.split('`').nth(1).unwrap().to_owned()).collect()
}

#[test]
fn idle_http_rules_are_those_that_decide_nothing() {
    let mut numbers = Numbers(42);
    let (mut read, mut found) = (0, 0);
    while read < 40 {
        let text = http_policy(&mut numbers);
        let Ok(document) = PolicyDocument::parse("p.yaml", &text) else { panic!("{text}") };
        read += 1;
        let deciding = deciding(&document);
        let idle = idle(&document, &["never allows", "unreachable", "matches nothing"]);
        found += idle.len();
        for rule in document.http_rules() {
            let name = rule.rule.name.as_str();
            if rule.rule.effect == signet_policy::Effect::Allow {
                assert_eq!(idle.contains(name), !deciding.contains(name), "{name} of\n{text}");
            }
        }
    }
    assert!(found > 10, "the policies test what they are meant to: {found}");
}

#[test]
fn idle_postgres_rules_are_those_that_decide_nothing() {
    let mut numbers = Numbers(7);
    let (mut read, mut found) = (0, 0);
    while read < 300 {
        let mut text = "version: 1\ntrust_domain: a\npostgres:\n".to_owned();
        for i in 0..2 + numbers.below(3) {
            let from =
                numbers.one(&["[/c]", "['/*']", "[/**]", "['**']", "[/c, /d]", "['/*/**', '/*']"]);
            let databases = numbers.one(&["[d]", "['*']", "[d, e]", "[e, '*']"]);
            writeln!(text, "  - {{ name: r{i}, from: {from}, to: [/api], databases: {databases}, login_role: r{i} }}").unwrap();
        }
        // Ties are faults of their own.
        let Ok(document) = PolicyDocument::parse("p.yaml", &text) else { continue };
        read += 1;
        let policy = Policy::compile(document.slice_for(SpiffeId::parse(API).unwrap()));
        let mut deciding = BTreeSet::new();
        for from in [
            "spiffe://a/c",
            "spiffe://a/d",
            "spiffe://a/e",
            "spiffe://a/e/f",
            "spiffe://z/c",
            "spiffe://z/e/f",
        ] {
            for database in ["d", "e", "f"] {
                let parameters = [(&b"user"[..], &b"u"[..]), (b"database", database.as_bytes())];
                let request = StartupRequest { parameters: &parameters, options: &[] };
                let decision = policy.decide_postgres(Ok(SpiffeId::parse(from).unwrap()), &request);
                deciding.extend(decision.rule().map(str::to_owned));
            }
        }
        let idle = idle(&document, &["unreachable"]);
        found += idle.len();
        for rule in document.postgres_rules() {
            let name = rule.rule.name.as_str();
            assert_eq!(idle.contains(name), !deciding.contains(name), "{name} of\n{text}");
        }
    }
    assert!(found > 30, "the policies test what they are meant to: {found}");
}

/// The ways in which the decisions of two policies differ: allowed no longer, newly, or otherwise.
#[test]
fn differences_are_those_of_the_decisions() {
    const HEAD: &str = "version: 1\ntrust_domain: a\nhttp:\n";
    let compile = |document: &PolicyDocument| {
        Policy::compile(document.slice_for(SpiffeId::parse(API).unwrap()))
    };
    let mut numbers = Numbers(3);
    let mut differ = 0;
    for _ in 0..40 {
        let text = http_policy(&mut numbers);
        let other = http_policy(&mut numbers).replace("name: r", "name: s");
        // A rule less, a rule with another role, or another rule.
        let mut rules: Vec<&str> = text.lines().skip(3).collect();
        let changed = rules.remove(numbers.below(rules.len())).replace("db_role: r", "db_role: s");
        match numbers.below(3) {
            0 => {}
            1 => rules.push(&changed),
            _ => rules.push(other.lines().nth(3).unwrap()),
        }
        let new = format!("{HEAD}{}\n", rules.join("\n"));
        let documents = (PolicyDocument::parse("old", &text), PolicyDocument::parse("new", &new));
        // Ties are faults of their own.
        let (Ok(old), Ok(new)) = documents else { continue };
        let (before, after) = (compile(&old), compile(&new));
        let mut expected = BTreeSet::new();
        each_request(|from, request| {
            let role = |policy: &Policy| match policy.decide_http(Ok(from), request) {
                HttpDecision::Allow { db_role, .. } => Some(db_role.map(str::to_owned)),
                _ => None,
            };
            match (role(&before), role(&after)) {
                (Some(a), Some(b)) if a != b => expected.insert("otherwise"),
                (Some(_), None) => expected.insert("no longer"),
                (None, Some(_)) => expected.insert("newly"),
                _ => false,
            };
        });
        let difference = old.difference(&new);
        assert_eq!(difference.unknown, Vec::<String>::new());
        let found = difference.changes.iter().map(|change| {
            match (change.old.verdict, change.new.verdict) {
                (Verdict::Allow, Verdict::Allow) => "otherwise",
                (Verdict::Allow, _) => "no longer",
                _ => "newly",
            }
        });
        assert_eq!(found.collect::<BTreeSet<_>>(), expected, "{text}\n{changed}");
        differ += usize::from(!expected.is_empty());
    }
    assert!(differ > 10, "the policies test what they are meant to: {differ}");
}

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

/// A rule whose lists multiply to millions of alternatives is searched so far and no further.
#[test]
fn long_lists_of_a_rule_that_never_decides() {
    let many = |stem: &str| (0..200).map(|i| format!("{stem}{i}")).collect::<Vec<_>>().join(", ");
    let (callers, paths, hosts) = (many("/c/"), many("/p/"), many("h"));
    let text = format!(
        "version: 1\ntrust_domain: a\nhttp:
  - {{ name: long, from: [{callers}], to: [/api], paths: [{paths}], hosts: [{hosts}] }}
  - {{ name: none, effect: deny, from: [/c/**], to: [/api], paths: ['/p/**'] }}\n"
    );
    let document = PolicyDocument::parse("p.yaml", &text).unwrap();
    assert_eq!(idle(&document, &["isn't known"]), BTreeSet::from(["long".to_owned()]));
}
