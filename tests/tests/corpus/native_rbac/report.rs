//! The page that tells where native RBAC differs, and why.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::Value;
use wasm_host::{HttpFilter, HttpOutcome};

use crate::{case::Case, told};

const HEAD: &str = "\
# The corpus through Envoy's native RBAC

For information: what Envoy 1.40's own RBAC filter makes of the requests in `tests/corpus/`, with the policy of `main` written for it
as an operator would (exact strings and regular expressions; denies first), the same bootstrap, no normalization. A request that goes
over HTTP/1.1 and HTTP/2 counts twice. Roles are not compared: RBAC has none to tell.
";

/// What RBAC did, and the policy says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mistake {
    Forwarded,
    Stopped,
}

/// Differences of one kind.
#[derive(Debug)]
struct Difference {
    count: usize,
    example: Case,
}

/// All that was seen.
pub(super) struct Report {
    /// Knows why a request is refused.
    filter: HttpFilter,
    /// By family: how many are decided alike, and how many otherwise in either way.
    families: BTreeMap<String, (usize, usize, usize)>,
    differences: BTreeMap<(Mistake, String), Difference>,
}

impl Report {
    pub(super) fn new(filter: HttpFilter) -> Self {
        Self { filter, families: BTreeMap::new(), differences: BTreeMap::new() }
    }

    pub(super) fn note(&mut self, family: &str, case: &Case, forwarded: bool) {
        let counts = self.families.entry(family.to_owned()).or_default();
        let mistake = match (forwarded, case.expect == "allow") {
            (true, false) => {
                counts.1 += 1;
                Mistake::Forwarded
            }
            (false, true) if !case.envoy_stops => {
                counts.2 += 1;
                Mistake::Stopped
            }
            _ => {
                counts.0 += 1;
                return;
            }
        };
        let why = self.why(case, mistake);
        let new = || Difference { count: 0, example: case.clone() };
        self.differences.entry((mistake, why)).or_insert_with(new).count += 1;
    }

    /// Why RBAC differs. Every difference has a reason.
    fn why(&mut self, case: &Case, mistake: Mistake) -> String {
        if case.expect == "refuse" {
            return format!("{}, and RBAC compares what it is sent", self.ambiguity(case));
        }
        let names: Vec<&[u8]> = case.headers.iter().map(|(name, _)| name.as_slice()).collect();
        let has = |wanted: &[u8]| names.contains(&wanted);
        let repeated = names.iter().any(|name| names.iter().filter(|n| n == &name).count() > 1);
        let joined = case.headers.iter().any(|(_, value)| value.contains(&b','));
        let host = case.authority.as_deref().unwrap_or_default();
        let respelled =
            host.iter().any(u8::is_ascii_uppercase) || host.contains(&b':') || host.ends_with(b".");
        let path = case.path.as_deref().unwrap_or_default();
        let path = path.split(|octet| *octet == b'?').next().unwrap_or_default();
        let why = if case.from.as_deref().is_some_and(|from| from.contains(',')) {
            "a certificate with two URI SANs, and RBAC is content with the first"
        } else if has(b":protocol") || has(b"upgrade") {
            "an upgrade, and RBAC has no condition on them"
        } else if repeated || joined {
            "a repeated header, or one joined by a proxy, and RBAC compares the joined line"
        } else if respelled {
            "the host in another spelling (case, port, final dot), and RBAC compares text"
        } else if mistake == Mistake::Stopped && path.ends_with(b"/") {
            "a trailing slash, which the paths of RBAC don't have"
        } else if mistake == Mistake::Stopped && path.contains(&b'%') {
            "an escape in another spelling, and RBAC compares text"
        } else {
            panic!("{mistake:?}, and no reason is known: {}", case.write())
        };
        why.to_owned()
    }

    /// The sentence that our filter's own answer has.
    fn ambiguity(&mut self, case: &Case) -> String {
        // What answers gRPC has no sentence.
        let mut case = case.clone();
        case.headers.retain(|(name, _)| name != b"content-type");
        let exchange = self.filter.exchange(&told::request(&case)).unwrap();
        let HttpOutcome::Answered(answer) = exchange.outcome else {
            panic!("not refused: {}", case.write())
        };
        let body: Value = serde_json::from_slice(answer.body.as_ref()).unwrap();
        body["detail"].as_str().expect("a refusal has its detail").to_owned()
    }

    pub(super) fn page(&self) -> String {
        let mut text = HEAD.to_owned();
        text += "\n| family | as the policy says | forwarded, but not allowed | stopped, but allowed |\n| --- | ---: | ---: | ---: |\n";
        for (family, (same, much, little)) in &self.families {
            let _ = writeln!(text, "| {family} | {same} | {much} | {little} |");
        }
        text += "\nWhy, how often, and the first case of each kind:\n";
        for (mistake, title) in [
            (Mistake::Forwarded, "Forwarded, but not allowed"),
            (Mistake::Stopped, "Stopped, but allowed"),
        ] {
            let _ = writeln!(text, "\n## {title}\n");
            let of_kind = self.differences.iter().filter(|((known, _), _)| *known == mistake);
            for ((_, why), Difference { count, example }) in of_kind {
                let _ = writeln!(text, "- {why}: {count} times, as `{}`", example.write());
            }
        }
        text +=
            "\nWritten by `SIGNET_CORPUS_WRITE=1 cargo test -p e2e --test corpus native_rbac`.\n";
        text
    }
}
