//! Prints what loading a policy and deciding by it cost, by the number and the shape of its rules.
//!
//!     cargo run --release -p signet-policy --example measure [RULES…]

use std::hint::black_box;
use std::time::Instant;

use signet_policy::{Header, HttpRequest, Policy, Slice, SpiffeId};

/// How often the requests are timed, and how many decisions each time: so few that a busy machine leaves some of
/// them in peace.
const TIMES: usize = 300;
const DECISIONS: usize = 1_000;

/// What makes the rules differ.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// Each rule has its own caller; all have the same path.
    Callers,
    /// Each rule has its own path; all have the same caller.
    Paths,
    /// Each rule has its own path, and any caller is meant.
    AnyCaller,
    /// Each rule has its own caller, path and role.
    Everything,
    /// Each rule has its own caller with a `*` in it, and below its path everything.
    Wildcards,
    /// Each rule has its own host; caller and path are the same.
    Hosts,
    /// Half of the rules name any caller and one path, half one caller and any path.
    Crossed,
}

impl Shape {
    const ALL: [Self; 7] = [
        Self::Callers,
        Self::Paths,
        Self::AnyCaller,
        Self::Everything,
        Self::Wildcards,
        Self::Hosts,
        Self::Crossed,
    ];

    fn rule(self, i: usize) -> String {
        let caller = format!("spiffe://example.org/ns/team-{}/sa/service-{i}", i % 100);
        let one = "spiffe://example.org/ns/client-ns/sa/client";
        match self {
            Self::Callers => rule(i, &caller, r#","paths":["/customers"]"#),
            Self::Paths => rule(i, one, &format!(r#","paths":["/v1/things/{i}/{{id}}"]"#)),
            Self::AnyCaller => rule(i, "**", &format!(r#","paths":["/v1/things/{i}/{{id}}"]"#)),
            Self::Everything => {
                rule(i, &caller, &format!(r#","paths":["/v1/things/{i}"],"db_role":"role_{i}""#))
            }
            Self::Wildcards => rule(
                i,
                &format!("spiffe://example.org/ns/*/sa/service-{i}"),
                &format!(r#","paths":["/v1/*/{i}/**"]"#),
            ),
            Self::Hosts => rule(i, one, &format!(r#","hosts":["host-{i}.example.org"]"#)),
            Self::Crossed if i.is_multiple_of(2) => rule(i, &caller, r#","paths":["/**"]"#),
            Self::Crossed => rule(i, "**", &format!(r#","paths":["/v1/things/{i}"]"#)),
        }
    }

    /// Who asks for what at which host, so that rule `i` allows it.
    fn ask(self, i: usize) -> (String, String, String) {
        let caller = format!("spiffe://example.org/ns/team-{}/sa/service-{i}", i % 100);
        let one = "spiffe://example.org/ns/client-ns/sa/client".to_owned();
        let host = format!("host-{i}.example.org");
        match self {
            Self::Callers => (caller, "/customers".to_owned(), host),
            Self::Paths | Self::AnyCaller => (one, format!("/v1/things/{i}/7"), host),
            Self::Everything | Self::Crossed => (caller, format!("/v1/things/{i}"), host),
            Self::Wildcards => (caller, format!("/v1/things/{i}/a/b"), host),
            Self::Hosts => (one, "/".to_owned(), host),
        }
    }
}

fn rule(i: usize, from: &str, more: &str) -> String {
    format!(r#"{{"name":"rule-{i}","from":["{from}"],"methods":["GET"]{more}}}"#)
}

fn main() {
    let mut counts: Vec<usize> =
        std::env::args().skip(1).map(|count| count.parse().expect("a number of rules")).collect();
    if counts.is_empty() {
        counts = vec![1, 1_000, 10_000, 100_000];
    }
    println!(
        "{:<12} {:>7} {:>9} {:>11} {:>11} {:>11}",
        "shape", "rules", "parse ms", "compile ms", "same ns", "spread ns"
    );
    for shape in Shape::ALL {
        for &count in &counts {
            let rules: Vec<String> = (0..count).map(|i| shape.rule(i)).collect();
            let json = format!(
                r#"{{"format":1,"workload":"spiffe://example.org/w","http":[{}]}}"#,
                rules.join(",")
            );
            let start = Instant::now();
            let slice = Slice::http_from_json(json.as_bytes()).expect("a valid slice");
            let parsed = start.elapsed();
            let start = Instant::now();
            let policy = Policy::compile_http(slice);
            let compiled = start.elapsed();
            // Always the same request, as a busy caller sends it; then 1,000 different ones in turn.
            let same = time(&policy, &[shape.ask(count / 2)]);
            let spread: Vec<_> = (0..1_000).map(|i| shape.ask(i * 7_919 % count)).collect();
            let spread = time(&policy, &spread);
            println!(
                "{:<12} {count:>7} {:>9.2} {:>11.2} {same:>11.0} {spread:>11.0}",
                format!("{shape:?}"),
                parsed.as_secs_f64() * 1e3,
                compiled.as_secs_f64() * 1e3,
            );
        }
    }
}

/// Nanoseconds per decision.
fn time(policy: &Policy, asks: &[(String, String, String)]) -> f64 {
    let requests: Vec<([Header<'_>; 6], SpiffeId<'_>)> = asks
        .iter()
        .map(|(from, path, host)| {
            let headers: [Header<'_>; 6] = [
                (b":method", b"GET"),
                (b":path", path.as_bytes()),
                (b":authority", host.as_bytes()),
                (b"user-agent", b"measure"),
                (b"accept", b"*/*"),
                (b"x-request-id", b"6a1e6a9e-4b1c-4a6e-8b7e-2f8f1f3c9d00"),
            ];
            (headers, SpiffeId::parse(from).expect("a valid SPIFFE ID"))
        })
        .collect();
    let mut best = f64::INFINITY;
    for _ in 0..TIMES {
        let start = Instant::now();
        for (headers, id) in requests.iter().cycle().take(DECISIONS) {
            let request = HttpRequest { headers, ..HttpRequest::default() };
            let decision = policy.decide_http(Ok(*id), black_box(&request));
            assert_eq!(decision.verdict(), "allow");
        }
        #[expect(clippy::cast_precision_loss, reason = "a thousand")]
        let each = start.elapsed().as_secs_f64() * 1e9 / DECISIONS as f64;
        best = best.min(each);
    }
    best
}
