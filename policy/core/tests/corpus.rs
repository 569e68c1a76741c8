//! The request corpus of `tests/corpus/`, decided by this crate. Its README tells the format of a case.

use std::fs;
use std::path::Path;

use serde_json::Value;
use signet_policy::{Header, HttpDecision, HttpRequest, Peer, Policy, Slice};

/// The filter state that Envoy's listener writes for a caller; the certificate never expires.
fn peer_state(case: &Value) -> String {
    match case.get("from") {
        None => format!("{}|spiffe://example.org/ns/client-ns/sa/client", u64::MAX),
        Some(Value::Null) => "-|-".to_owned(),
        Some(from) => format!("{}|{}", u64::MAX, from.as_str().unwrap()),
    }
}

/// Octets are written as characters up to U+00FF.
fn octets(text: &Value) -> Vec<u8> {
    text.as_str().unwrap().chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

fn header_lines(case: &Value) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut lines = Vec::new();
    for (name, key, default) in
        [(":method", "method", "GET"), (":path", "path", "/"), (":authority", "authority", "api")]
    {
        match case.get(key) {
            None => lines.push((name.into(), default.into())),
            Some(Value::Null) => {}
            Some(value) => lines.push((name.into(), octets(value))),
        }
    }
    for pair in case["headers"].as_array().into_iter().flatten() {
        // Envoy shows names in lower case.
        lines.push((octets(&pair[0]).to_ascii_lowercase(), octets(&pair[1])));
    }
    arrived(lines)
}

/// What Envoy passes on to its filters: an extended CONNECT as a GET that asks for the upgrade, and a request
/// that asks for none (`Connection` must say so, and h2c is none) without both headers.
fn arrived(mut lines: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<(Vec<u8>, Vec<u8>)> {
    if let Some(at) = lines.iter().position(|(name, _)| name == b":protocol") {
        let (_, protocol) = lines.remove(at);
        lines.retain(|(name, _)| name != b":method");
        lines.insert(0, (b":method".into(), b"GET".into()));
        lines.extend([(b"connection".into(), b"upgrade".into()), (b"upgrade".into(), protocol)]);
    }
    let has = |wanted: &[u8], test: fn(&str) -> bool| {
        let mut values = lines.iter().filter(|(name, _)| name == wanted);
        values.any(|(_, value)| test(&String::from_utf8_lossy(value).to_lowercase()))
    };
    let named = |value: &str| value.split(',').any(|option| option.trim() == "upgrade");
    if !(has(b"connection", named) && has(b"upgrade", |value| value != "h2c")) {
        lines.retain(|(name, _)| name != b"connection" && name != b"upgrade");
    }
    lines
}

/// Verdict, rule and role, in the words of the corpus.
fn decide(policy: &Policy, case: &Value) -> [Value; 3] {
    let lines = header_lines(case);
    let headers: Vec<Header<'_>> = lines.iter().map(|(n, v)| (&n[..], &v[..])).collect();
    let state = peer_state(case);
    let peer = Peer::from_filter_state(state.as_bytes()).map(|peer| peer.id);
    let request = HttpRequest { headers: &headers, ..HttpRequest::default() };
    let decision = policy.decide_http(peer, &request);
    let db_role = match decision {
        HttpDecision::Allow { db_role, .. } => db_role,
        _ => None,
    };
    [Some(decision.verdict()), decision.rule(), db_role]
        .map(|text| text.map_or(Value::Null, Value::from))
}

#[test]
fn the_corpus_is_decided_as_its_cases_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus");
    let mut count = 0;
    let mut wrong = Vec::new();
    for name in ["main", "weight"] {
        let slice = fs::read(folder.join(name).join("slice.json")).unwrap();
        let policy = Policy::compile(Slice::from_json(&slice).unwrap());
        let files = fs::read_dir(folder.join(name)).unwrap().map(|entry| entry.unwrap().path());
        let cves = (name == "main").then(|| folder.join("cves.jsonl"));
        for file in files.chain(cves).filter(|file| file.extension().is_some_and(|e| e == "jsonl"))
        {
            for line in fs::read_to_string(file).unwrap().lines() {
                count += 1;
                let case: Value = serde_json::from_str(line).unwrap();
                let found = decide(&policy, &case);
                if found != ["expect", "rule", "db_role"].map(|key| case[key].clone()) {
                    wrong.push(format!("{line}\n  found {found:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= 5_000, "{count}");
}
