//! Fuzz target: the policy document. Whatever a file holds, reading it ends in a document or in faults, and soon:
//! within [`LONGEST`], which leaves room for builds without optimization and busy machines.
//!
//! Inputs are mutations of a good document, by line and by piece. CI takes some hundreds; `SIGNET_FUZZ_INPUTS=100000`
//! makes it longer, on the stable toolchain and with the same command.

use std::env;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};
use signet_policy_document::PolicyDocument;

/// Longest time for one input, on a busy machine and without optimization; alone and optimized it is far less.
const LONGEST: Duration = Duration::from_secs(20);

const DOCUMENT: &str = "version: 1
trust_domain: example.org
trust_domain_aliases: [old.example.org]
workloads:
  client: /ns/client-ns/sa/client
  api: /ns/api-ns/sa/api
http:
  - name: read
    from: [client, '/ns/*/sa/x', 'spiffe://other.org/**']
    to: [api]
    methods: [GET]
    paths: [/customers, '/customers/{id}', /files/**]
    hosts: [api.example.org, '*.example.org']
    headers: { x-tenant: [acme], x-trace: { present: true } }
    db_role: reader
  - { name: no, effect: deny, mode: shadow, from: ['**'], to: [api], ports: [80], upgrades: [websocket] }
postgres:
  - { name: db, from: [api], to: [api], databases: [customers], login_role: api, may_act_as: [reader], max_session: 1h }
tests:
  - { from: client, to: api, request: GET /customers, expect: allow, rule: read, db_role: reader }
";

const PIECES: &[&str] = &[
    ":",
    " ",
    "\n",
    "\n  ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "'",
    "\"",
    "&a",
    "*a",
    "<<: *a",
    "!!str",
    "|",
    ">",
    "#",
    "?",
    "null",
    "~",
    "1e9",
    "-1",
    "99999999999999999999",
    "\0",
    "\u{feff}",
    "é",
    "\t",
    "%",
    "**",
    "*",
    "/",
    "//",
    "..",
    "version: 2",
    "---\n",
    "...\n",
    "name: read",
    "spiffe://",
    "[[[[[[[[[[[[[[[[",
    "{a: {a: {a: {a: {a: ",
];

fn mutated() -> impl Strategy<Value = String> {
    let change = (any::<Index>(), any::<Index>(), select(PIECES), 0..5_u8);
    vec(change, 0..6).prop_map(|changes| {
        let mut lines: Vec<String> = DOCUMENT.lines().map(|line| format!("{line}\n")).collect();
        for (at, within, piece, kind) in changes {
            let at = at.index(lines.len());
            let line = lines[at].clone();
            let splits: Vec<usize> = line.char_indices().map(|(i, _)| i).collect();
            let (head, tail) = line.split_at(within.get(&splits).to_owned());
            match kind {
                0 => drop(lines.remove(at)),
                1 => lines.insert(at, line),
                2 => lines[at] = format!("{head}{piece}{tail}"),
                3 => lines[at] = format!("{head}{}", tail.chars().skip(1).collect::<String>()),
                _ => lines[at] = format!("{head}{}\n", piece.repeat(200)),
            }
            if lines.is_empty() {
                lines.push("\n".to_owned());
            }
        }
        lines.concat()
    })
}

fn run<S: Strategy>(strategy: S, read: impl Fn(S::Value)) {
    let wanted = env::var("SIGNET_FUZZ_INPUTS").ok().and_then(|count| count.parse().ok());
    let config =
        Config { cases: wanted.unwrap_or(500), failure_persistence: None, ..Config::default() };
    let run = TestRunner::new(config).run(&strategy, |input| {
        let start = Instant::now();
        read(input);
        assert!(start.elapsed() < LONGEST, "took {:?}", start.elapsed());
        Ok(())
    });
    run.unwrap();
}

#[test]
fn documents() {
    run(mutated(), |text| match PolicyDocument::parse("policy.yaml", &text) {
        Ok(document) => assert_eq!(document.digest().len(), 64),
        Err(faults) => assert!(faults.lines().next().is_some()),
    });
}

#[test]
fn any_octets() {
    run(vec(any::<u8>(), 0..400), |octets| {
        let _ = PolicyDocument::parse_bytes("policy.yaml", octets);
    });
}

/// Whoever reads a policy may do so on a thread with a small stack.
#[test]
fn deep_nesting() {
    for piece in ["[", "{a: ", "- ", "? ", "[{a: "] {
        for depth in [10, 60, 1_000, 100_000] {
            let text = format!("version: 1\nhttp: {}", piece.repeat(depth));
            assert!(PolicyDocument::parse("policy.yaml", &text).is_err(), "{piece} × {depth}");
        }
    }
}

/// Half a file is never taken for a whole one by accident of where it ends: it is a document or faults, never a panic.
#[test]
fn every_half_of_a_document() {
    for end in 0..DOCUMENT.len() {
        let _ = PolicyDocument::parse("policy.yaml", &DOCUMENT[..end]);
    }
}
