//! The analysis against a count of everything: over small policies of a small world, each request is
//! decided by the policy crate, and a rule is idle exactly where it decides none of them.

use std::collections::BTreeSet;
use std::fmt::Write;

use signet_policy::{HttpDecision, Policy, SpiffeId, StartupRequest};
use signet_policy_document::{PolicyDocument, Verdict};

use crate::idle;
use crate::world::{API, CALLERS, Numbers, each_request, http_policy};

/// The names of the rules that decide about some request of the small world.
fn deciding(document: &PolicyDocument) -> BTreeSet<String> {
    let policy = Policy::compile(document.slice_for(SpiffeId::parse(API).unwrap()));
    let mut names = BTreeSet::new();
    each_request(|from, request| {
        names.extend(policy.decide_http(Ok(from), request).rule().map(str::to_owned));
    });
    names
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
        for from in CALLERS {
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

/// Whoever a rule lets in is told, and nobody else: a caller by its pattern, with the rules that decide about some
/// request of one whom it holds.
#[test]
fn who_can_reach_a_workload_are_those_whom_a_rule_lets_in() {
    let mut numbers = Numbers(11);
    let (mut told, mut left_out) = (0, 0);
    for _ in 0..40 {
        let text = http_policy(&mut numbers);
        let document = PolicyDocument::parse("p.yaml", &text).expect(&text);
        let policy = Policy::compile(document.slice_for(SpiffeId::parse(API).unwrap()));
        let mut let_in: BTreeSet<(&str, &str)> = BTreeSet::new();
        let mut listed = 0;
        let allows = || {
            let rules = document.http_rules().iter().map(|rule| &rule.rule);
            rules.filter(|rule| rule.effect == signet_policy::Effect::Allow)
        };
        each_request(|from, request| {
            let HttpDecision::Allow { rule, .. } = policy.decide_http(Ok(from), request) else {
                return;
            };
            let decides = allows().find(|found| found.name.as_str() == rule).unwrap();
            let callers = decides.from.iter().filter(|caller| caller.matches(from));
            let_in.extend(callers.map(|caller| (decides.name.as_str(), caller.as_str())));
        });
        for rule in allows() {
            listed += rule.from.len();
        }
        let found = document.who(Some(API), None).unwrap();
        assert!(found.iter().all(|access| access.is_proven), "{text}");
        let found: BTreeSet<(&str, &str)> =
            found.iter().map(|access| (access.rule.as_str(), access.from.as_str())).collect();
        assert_eq!(found, let_in, "{text}");
        told += found.len();
        left_out += listed - found.len();
    }
    assert!(
        told > 50 && left_out > 10,
        "the policies test what they are meant to: {told}, {left_out}"
    );
}

/// Who is let in by `**`, and where, is looked for in other trust domains, whatever one's own and its aliases are called.
#[test]
fn strangers_are_found_beside_every_trust_domain() {
    for (domain, stranger) in [("a", "x"), ("x", "xx"), ("xx", "x")] {
        for (sides, told) in [
            ("from: [/c, '**'], to: [/api]", "lets in workloads of every trust domain"),
            ("from: [/c], to: [/api, '**']", "holds at workloads of every trust domain"),
        ] {
            let text = format!(
                "version: 1\ntrust_domain: {domain}\ntrust_domain_aliases: [b, xxx]\nhttp: [{{ name: r, {sides} }}]\n"
            );
            let document = PolicyDocument::parse("p.yaml", &text).unwrap();
            let warnings = document.warnings();
            let [warning] = warnings.as_slice() else { panic!("{domain}: {warnings:?}") };
            assert_eq!(warning.fault.message, format!("rule `r` {told}"));
            let case = &warning.witnesses[0].case;
            let found = if sides.contains("to: [/api]") { &case.from } else { &case.to };
            assert!(found.starts_with(&format!("spiffe://{stranger}/")), "{found}");
        }
    }
}

/// `**` stands for nobody else where another rule takes what is beside one's own trust domain.
#[test]
fn what_others_decide_is_not_held_at_strangers() {
    let text = |other: &str| {
        format!(
            "version: 1\ntrust_domain: a\nhttp:\n- {{ name: r, from: [/c], to: ['**'] }}\n- {{ name: o, effect: deny, from: [/c], to: [{other}] }}\n"
        )
    };
    let told = |other: &str| {
        let document = PolicyDocument::parse("p.yaml", &text(other)).unwrap();
        let warnings = document.warnings().into_iter();
        warnings.map(|warning| warning.fault.message).collect::<Vec<_>>()
    };
    let wide = "rule `r` holds at workloads of every trust domain".to_owned();
    assert_eq!(told("spiffe://b/**"), [wide]);
    assert_eq!(told("'**'"), ["rule `r` never allows: all that it matches is denied by `o`"]);
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
