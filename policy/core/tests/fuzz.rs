//! Fuzz targets: patterns, slices, peers and decisions. Nothing may panic, and nothing may take long.
//!
//! Inputs are mutations of good ones, made of octets that matter here. CI takes some thousands of each;
//! `SIGNET_FUZZ_INPUTS=1000000` makes it longer, on the stable toolchain and with the same command.

use std::env;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};
use signet_policy::{
    Header, HostPattern, HttpRequest, IdPattern, Parameter, PathPattern, Peer, Policy, RequestPath,
    Slice, SpiffeId, StartupRequest,
};

/// Longest time for one input, on a busy machine and without optimization.
const LONGEST: Duration = Duration::from_secs(20);

/// What mutations are made of: syntax of paths, identities, hosts and JSON, and what is none.
const PIECES: &[&[u8]] = &[
    b"/",
    b"//",
    b".",
    b"..",
    b"*",
    b"**",
    b"{id}",
    b"{",
    b"}",
    b"%",
    b"%2",
    b"%2f",
    b"%61",
    b"%25",
    b"%00",
    b"%ff",
    b"?",
    b"#",
    b";",
    b"\\",
    b":",
    b"@",
    b"|",
    b",",
    b"\"",
    b"[",
    b"]",
    b"null",
    b"1e9",
    b"-1",
    b"18446744073709551616",
    b"\x00",
    b"\x7f",
    b"\xff",
    b"\xc3",
    b"\xc3\xa9",
    b"\xed\xa0\x80",
    b"spiffe://",
    b"a",
    b"example.org",
    b"[::1]",
    b" ",
    b"\\u0000",
    b"\\ud800",
    b"{\"",
    b"true",
];

const SLICE: &str = r#"{"expiry_grace":5,"format":1,"http":[{"db_role":"r","from":["spiffe://a.org/b/*","**"],"headers":{"x-a":{"equals":["1"]},"x-b":"present"},"hosts":["a.org","*.b.org"],"jwt":{"a.b":"absent"},"methods":["GET"],"name":"n","paths":["/a/{x}","/**","*"],"ports":[1],"upgrades":["websocket"]},{"effect":"deny","from":["**"],"mode":"shadow","name":"m"}],"postgres":[{"databases":["*"],"from":["spiffe://a.org/**"],"login_role":"l","may_act_as":["o"],"name":"p"}],"workload":"spiffe://a.org/w"}"#;

/// A good input with some changes: a piece put in, octets taken out, or a part told twice.
fn mutated(seed: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<Index>(), any::<Index>(), select(PIECES), 0..3_u8);
    vec(change, 0..8).prop_map(move |changes| {
        let mut octets = seed.to_vec();
        for (from, to, piece, kind) in changes {
            let (a, b) = (from.index(octets.len() + 1), to.index(octets.len() + 1));
            let range = a.min(b)..a.max(b).min(a.min(b) + 12);
            match kind {
                0 => drop(octets.splice(a..a, piece.iter().copied())),
                1 => drop(octets.drain(range)),
                _ => {
                    let part = octets[range].to_vec();
                    octets.splice(a..a, part);
                }
            }
        }
        octets
    })
}

fn each<S: Strategy>(strategy: S, target: impl Fn(S::Value)) {
    let wanted = env::var("SIGNET_FUZZ_INPUTS").ok().and_then(|count| count.parse().ok());
    let config =
        Config { cases: wanted.unwrap_or(4_000), failure_persistence: None, ..Config::default() };
    let run = TestRunner::new(config).run(&strategy, |input| {
        let start = Instant::now();
        target(input);
        assert!(start.elapsed() < LONGEST, "took {:?}", start.elapsed());
        Ok(())
    });
    run.unwrap();
}

/// What was accepted is written as it can be read again, to the same value.
fn reads_itself<T: PartialEq + std::fmt::Debug + ToString, E: std::fmt::Debug>(
    parse: impl Fn(&str) -> Result<T, E>,
    octets: &[u8],
) {
    let text = String::from_utf8_lossy(octets);
    if let Ok(value) = parse(&text) {
        let written = value.to_string();
        assert_eq!(parse(&written).unwrap(), value, "{text:?} → {written:?}");
    }
}

#[test]
fn path_patterns() {
    each(mutated(b"/a/{id}/b c/\xc3\xa9/**"), |octets| {
        reads_itself(PathPattern::parse, &octets);
    });
}

#[test]
fn identity_patterns() {
    each(mutated(b"spiffe://example.org/ns/*/sa/a/**"), |octets| {
        reads_itself(IdPattern::parse, &octets);
    });
}

#[test]
fn host_patterns() {
    each(mutated(b"*.api-1.example.org"), |octets| {
        reads_itself(HostPattern::parse, &octets);
    });
}

#[test]
fn request_paths_and_peers() {
    each(mutated(b"/a/%C3%A9/b%20c?x=%61"), |octets| {
        let _ = RequestPath::parse(&octets);
    });
    each(mutated(b"1700000000|spiffe://example.org/ns/a/sa/b"), |octets| {
        if let Ok(peer) = Peer::from_filter_state(&octets) {
            assert_eq!(SpiffeId::parse(peer.id.as_str()), Ok(peer.id));
        }
    });
}

/// A slice that is accepted is written and read again unchanged, and decides.
#[test]
fn slices() {
    each(mutated(SLICE.as_bytes()), |octets| {
        let Ok(slice) = Slice::from_json(&octets) else { return };
        let written = slice.clone().to_json();
        let again = Slice::from_json(written.as_bytes()).unwrap();
        assert_eq!(again.to_json(), written);
        let policy = Policy::compile(slice);
        let headers: [Header<'_>; 2] = [(b":method", b"GET"), (b":path", b"/a/b")];
        let request = HttpRequest { headers: &headers, ..HttpRequest::default() };
        let id = Ok(SpiffeId::parse("spiffe://a.org/b/c").unwrap());
        // Else a second evaluation could say something else than the first.
        assert_eq!(policy.decide_http(id, &request), policy.decide_http(id, &request));
    });
}

#[test]
fn decisions() {
    let policy = Policy::compile(Slice::from_json(SLICE.as_bytes()).unwrap());
    let parts = (
        mutated(b"GET"),
        mutated(b"/a/b?c"),
        mutated(b"x.b.org:80"),
        mutated(b"x-a"),
        mutated(b"1, 2"),
    );
    each((parts, any::<Option<u16>>()), |((method, path, host, name, value), port)| {
        let headers: [Header<'_>; 4] =
            [(b":method", &method), (b":path", &path), (b":authority", &host), (&name, &value)];
        let request = HttpRequest { headers: &headers, port, ..HttpRequest::default() };
        let decision =
            policy.decide_http(Ok(SpiffeId::parse("spiffe://a.org/b/c").unwrap()), &request);
        // A path that can't be parsed is never allowed.
        if RequestPath::parse(&path).is_err() {
            assert_ne!(decision.verdict(), "allow", "{path:?}");
        }
        assert!(!decision.to_string().is_empty());
    });
    each(
        (mutated(b"user"), mutated(b"l"), mutated(b"search_path"), mutated(b"x")),
        |(a, b, c, d)| {
            let parameters: [Parameter<'_>; 3] = [(&a, &b), (b"database", b"db"), (&c, &d)];
            let request = StartupRequest { parameters: &parameters, options: &[] };
            let id = Ok(SpiffeId::parse("spiffe://a.org/b").unwrap());
            assert!(!policy.decide_postgres(id, &request).verdict().is_empty());
        },
    );
}
