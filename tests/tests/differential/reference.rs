//! The policy's meaning, written down as plainly as it is told in the documentation: every rule is looked at, every alternative of
//! a rule is weighed. Slow and obviously right; shares no code with `policy/core`, and is what that is compared with.

use std::cmp::Ordering;

/// A rule about HTTP. Absent lists mean any.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) deny: bool,
    pub(crate) shadow: bool,
    /// Patterns; `/…` is of any of [`TRUST_DOMAINS`].
    pub(crate) from: Vec<String>,
    pub(crate) methods: Option<Vec<String>>,
    pub(crate) paths: Option<Vec<String>>,
    pub(crate) hosts: Option<Vec<String>>,
    pub(crate) ports: Option<Vec<u16>>,
    pub(crate) upgrades: Option<Vec<String>>,
    pub(crate) headers: Vec<(String, Condition)>,
    /// On claims of the caller's JWT.
    pub(crate) jwt: Vec<(String, Condition)>,
    pub(crate) db_role: Option<String>,
}

impl Rule {
    /// How many conditions it has that no pattern expresses.
    pub(crate) fn conditions(&self) -> usize {
        let lists = usize::from(self.ports.is_some()) + usize::from(self.upgrades.is_some());
        self.headers.len() + self.jwt.len() + lists
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Condition {
    Equals(Vec<String>),
    Present,
    Absent,
}

/// The policy's trust domain and its alias.
pub(crate) const TRUST_DOMAINS: [&str; 2] = ["example.org", "other.example"];

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The URI SANs of the caller's certificate, joined by commas; empty without a certificate.
    pub(crate) from: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) authority: String,
    /// The port that it came in at.
    pub(crate) port: u16,
    /// The protocol that it asks to be upgraded to.
    pub(crate) upgrade: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    /// Claims of the caller's JWT, a line for each value.
    pub(crate) claims: Vec<(String, String)>,
}

/// Verdict, rule and role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) verdict: &'static str,
    pub(crate) rule: Option<String>,
    pub(crate) db_role: Option<String>,
}

/// Literal or the end of a pattern, one segment, the rest, nothing at all.
const LITERAL: u32 = 3;
const ONE: u32 = 2;
const REST: u32 = 1;
const ABSENT: u32 = 0;
/// No pattern here is longer.
const LONGEST: usize = 12;

pub(crate) fn decide(rules: &[Rule], request: &Request) -> Decision {
    let answer = |verdict, rule: Option<&Rule>| Decision {
        verdict,
        rule: rule.map(|rule| rule.name.clone()),
        db_role: rule.and_then(|rule| rule.db_role.clone()),
    };
    let (Some(path), Some(host)) =
        (segments_of(&request.method, &request.path), host_of(&request.authority))
    else {
        return answer("refuse", None);
    };
    // An identity is one URI SAN.
    if request.from.is_empty() || request.from.contains(',') {
        return answer("deny", None);
    }
    let mut heaviest: [Option<(&Rule, Vec<u32>)>; 2] = [None, None];
    for rule in rules.iter().filter(|rule| !rule.shadow) {
        let Some(weight) = weigh(rule, request, path.as_deref(), &host) else { continue };
        let best = &mut heaviest[usize::from(rule.deny)];
        let heavier = best.as_ref().is_none_or(|(other, known)| match weight.cmp(known) {
            Ordering::Greater => true,
            Ordering::Equal => rule.name < other.name,
            Ordering::Less => false,
        });
        if heavier {
            *best = Some((rule, weight));
        }
    }
    match heaviest {
        [_, Some((deny, _))] => answer("deny", Some(deny)),
        [Some((allow, _)), None] => answer("allow", Some(allow)),
        [None, None] => answer("deny", None),
    }
}

/// Whether the rule is for the request's port and upgrade.
fn fits_connection(rule: &Rule, request: &Request) -> bool {
    let of_port = rule.ports.as_ref().is_none_or(|ports| ports.contains(&request.port));
    let protocol = request.upgrade.as_ref().map(|protocol| protocol.to_ascii_lowercase());
    let listed = |protocol| rule.upgrades.as_ref().is_some_and(|list| list.contains(protocol));
    let of_upgrade = match (&protocol, rule.deny) {
        // An allow lists what may be asked for besides, a deny what may not.
        (None, false) => true,
        (None, true) => rule.upgrades.is_none(),
        (Some(protocol), false) => listed(protocol),
        (Some(protocol), true) => rule.upgrades.is_none() || listed(protocol),
    };
    of_port && of_upgrade
}

/// The patterns that a caller's pattern stands for.
fn expanded(from: &str) -> Vec<String> {
    if from.starts_with('/') {
        return TRUST_DOMAINS.iter().map(|domain| format!("{domain}{from}")).collect();
    }
    vec![from.strip_prefix("spiffe://").unwrap_or(from).to_owned()]
}

/// The weight of the heaviest alternative that matches. `path` is nothing for `*`.
fn weigh(rule: &Rule, request: &Request, path: Option<&[Vec<u8>]>, host: &str) -> Option<Vec<u32>> {
    if !fits_connection(rule, request) {
        return None;
    }
    let of_headers = rule.headers.iter().map(|condition| (condition, &request.headers, true));
    let of_claims = rule.jwt.iter().map(|condition| (condition, &request.claims, false));
    for ((name, condition), lines, joined) in of_headers.chain(of_claims) {
        let lines = lines.iter().filter(|(known, _)| known == name);
        let lines: Vec<&str> = lines.map(|(_, value)| value.as_str()).collect();
        let satisfied = match condition {
            Condition::Absent => lines.is_empty(),
            Condition::Present => !lines.is_empty(),
            Condition::Equals(list) => {
                let listed = |text: &str| list.iter().any(|value| value == text);
                // A proxy before us may have joined the lines of a header; nobody joins claims.
                let element =
                    |line: &str| line.split(',').any(|part| listed(part.trim_matches([' ', '\t'])));
                if rule.deny {
                    lines.iter().any(|line| listed(line) || joined && element(line))
                } else {
                    !lines.is_empty() && lines.iter().all(|line| listed(line))
                }
            }
        };
        if !satisfied {
            return None;
        }
    }
    let id: Vec<Vec<u8>> = request
        .from
        .strip_prefix("spiffe://")?
        .split('/')
        .map(|segment| segment.as_bytes().to_vec())
        .collect();
    let mut best = None;
    for path_pattern in alternatives(rule.paths.as_ref()) {
        for from in rule.from.iter().flat_map(|from| expanded(from)) {
            for host_pattern in alternatives(rule.hosts.as_ref()) {
                for method in alternatives(rule.methods.as_ref()) {
                    let path_weight = match (path_pattern, path) {
                        (None, _) => Some(vec![ABSENT; LONGEST]),
                        (Some("*"), None) => Some(vec![LITERAL; LONGEST]),
                        (Some("*"), Some(_)) | (Some(_), None) => None,
                        (Some(pattern), Some(path)) => {
                            let pattern = pattern.trim_start_matches('/');
                            let pattern = pattern.strip_suffix('/').unwrap_or(pattern);
                            let parts = pattern.split('/').filter(|part| !part.is_empty());
                            weigh_segments(&parts.collect::<Vec<_>>(), path, 0)
                        }
                    };
                    let from_weight = weigh_segments(&from.split('/').collect::<Vec<_>>(), &id, 1);
                    let host_weight = match host_pattern {
                        None => Some(0),
                        Some(pattern) => weigh_host(pattern, host),
                    };
                    let method_weight = match method {
                        None => Some(0),
                        Some(method) => (method == request.method).then_some(1),
                    };
                    let (Some(path), Some(from), Some(host), Some(method)) =
                        (path_weight, from_weight, host_weight, method_weight)
                    else {
                        continue;
                    };
                    let conditions = u32::try_from(rule.conditions()).unwrap();
                    let weight = [path, from, vec![host, method, conditions]].concat();
                    best = best.max(Some(weight));
                }
            }
        }
    }
    best
}

/// Each item of a list, or one nothing where there is no list.
fn alternatives(list: Option<&Vec<String>>) -> Vec<Option<&str>> {
    match list {
        None => vec![None],
        Some(list) => list.iter().map(|item| Some(item.as_str())).collect(),
    }
}

/// The weight of a pattern that holds the target; `**` stands for `fewest` segments or more.
fn weigh_segments(pattern: &[&str], target: &[Vec<u8>], fewest: usize) -> Option<Vec<u32>> {
    let mut weight = vec![LITERAL; LONGEST];
    for (i, part) in pattern.iter().enumerate() {
        if *part == "**" {
            weight[i] = REST;
            return (target.len() >= i + fewest).then_some(weight);
        }
        let segment = target.get(i)?;
        if *part == "*" || part.starts_with('{') {
            weight[i] = ONE;
        } else if part.as_bytes() != segment {
            return None;
        }
    }
    (pattern.len() == target.len()).then_some(weight)
}

/// Exact outweighs any wildcard; a wildcard weighs its labels.
fn weigh_host(pattern: &str, host: &str) -> Option<u32> {
    match pattern.strip_prefix('*') {
        None => (pattern == host).then_some(1_000),
        Some(suffix) => {
            let matches = host.ends_with(suffix) && host.len() > suffix.len();
            matches.then(|| u32::try_from(suffix.split('.').count()).unwrap())
        }
    }
}

/// The decoded segments of a target, `Some(None)` for the `*` of OPTIONS; nothing where it is ambiguous.
#[expect(clippy::option_option, reason = "refused, or without a path, or with one")]
fn segments_of(method: &str, target: &str) -> Option<Option<Vec<Vec<u8>>>> {
    if method == "OPTIONS" && target == "*" {
        return Some(None);
    }
    if target.contains('#') || target.chars().any(|c| c.is_ascii_control() || c == ' ') {
        return None;
    }
    let path = target.split('?').next().unwrap();
    if !path.starts_with('/') || path.contains("//") || path.contains(['\\', ';']) {
        return None;
    }
    let path = path[1..].strip_suffix('/').unwrap_or(&path[1..]);
    if path.is_empty() {
        return Some(Some(Vec::new()));
    }
    let segments = path.split('/').map(decoded).collect::<Option<Vec<_>>>()?;
    let dots = |segment: &Vec<u8>| matches!(segment.as_slice(), b"." | b"..");
    (!segments.iter().any(dots)).then_some(Some(segments))
}

/// A segment with its escapes decoded once; nothing where it could be read differently.
fn decoded(segment: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    let mut rest = segment.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            octets.push(*first);
            continue;
        }
        let octet = hex(rest)?;
        rest = &rest[2..];
        let encoded_in_vain = octet.is_ascii_alphanumeric() || b"-._~".contains(&octet);
        let dangerous = octet.is_ascii_control() || b"/\\;".contains(&octet);
        let twice = octet == b'%' && hex(rest).is_some();
        if encoded_in_vain || dangerous || twice {
            return None;
        }
        octets.push(octet);
    }
    String::from_utf8(octets).ok().map(String::into_bytes)
}

fn hex(digits: &[u8]) -> Option<u8> {
    let digits = digits.get(..2)?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The host in lower case, without port and one trailing dot; nothing where it is no host.
fn host_of(authority: &str) -> Option<String> {
    let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
    let host = host.strip_suffix('.').unwrap_or(host);
    let label = |label: &str| {
        !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let good =
        host.split('.').all(label) && port.len() <= 5 && port.chars().all(|c| c.is_ascii_digit());
    good.then(|| host.to_ascii_lowercase())
}
