//! Random policies and requests over small alphabets, so that they often meet.

use proptest::{
    collection::vec,
    option,
    prelude::{Just, Strategy, any},
    sample::{select, subsequence},
};
use serde_json::{Value, json};

use crate::reference::{Condition, Request, Rule, TRUST_DOMAINS};

/// The callers: the same in every run, so that their certificates are minted once.
pub(crate) const CALLERS: &[&str] = &[
    "spiffe://example.org/a",
    "spiffe://example.org/b",
    "spiffe://example.org/a/b",
    "spiffe://example.org/a/b/c",
    "spiffe://example.org/b/a",
    // Of the alias.
    "spiffe://other.example/a/b",
    // Nobody: no certificate, and two names.
    "",
    "spiffe://example.org/a,spiffe://example.org/b",
];

/// Ports that rules name. Envoy listens at the first, whatever its number is.
const PORTS: [u16; 2] = [8443, 9443];

/// What requests ask to be upgraded to. Envoy must let the filter see them.
pub(crate) const UPGRADES: [&str; 2] = ["websocket", "chat"];

/// The workload that decides.
const DESTINATION: &str = "spiffe://example.org/ns/api-ns/sa/api";

const METHODS: &[&str] = &["GET", "POST", "PUT", "OPTIONS"];

/// A policy, with the rule that tells that it is in force, and requests to it.
pub(crate) fn policy_and_requests(
    requests: usize,
) -> impl Strategy<Value = (Vec<Rule>, Vec<Request>)> {
    (vec(rule(), 1..14), vec(request(), requests)).prop_map(|(mut rules, requests)| {
        for (i, rule) in rules.iter_mut().enumerate() {
            // Names are not in the order of the rules.
            rule.name = format!("rule-{}", (i * 7) % 16);
        }
        (rules, requests)
    })
}

fn texts(from: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<String>> {
    subsequence(from, 1..=most).prop_map(|list| list.into_iter().map(str::to_owned).collect())
}

fn rule() -> impl Strategy<Value = Rule> {
    let from = texts(
        &[
            "**",
            "spiffe://example.org/**",
            "spiffe://example.org/*",
            "spiffe://example.org/a",
            "spiffe://example.org/a/**",
            "spiffe://example.org/*/b",
            "spiffe://example.org/a/b",
            "spiffe://example.org/a/*/c",
            "spiffe://other.example/*/b",
            "/a",
            "/*/b",
        ],
        3,
    );
    let of_connection = (
        option::weighted(0.15, subsequence(PORTS.to_vec(), 1..=2)),
        option::weighted(0.3, texts(&UPGRADES, 2)),
    );
    let hosts = texts(&["a.org", "b.a.org", "*.a.org", "*.org", "*.b.a.org"], 2);
    let values = texts(&["1", "2", ""], 2);
    let condition = (any::<u8>(), values)
        .prop_map(|(kind, values)| match kind % 4 {
            0 => Condition::Present,
            1 => Condition::Absent,
            _ => Condition::Equals(values),
        })
        .boxed();
    let conditions = |names: &'static [&'static str]| {
        let some =
            (subsequence(names, 0..=2), vec(condition.clone(), 2)).prop_map(|(names, kinds)| {
                names
                    .into_iter()
                    .map(str::to_owned)
                    .zip(kinds)
                    .collect::<Vec<(String, Condition)>>()
            });
        option::weighted(0.4, some).prop_map(Option::unwrap_or_default)
    };
    let headers = conditions(&["x-a", "x-b"]);
    let jwt = conditions(&["groups", "realm.roles"]);
    let lists = (
        from,
        option::of(texts(METHODS, 2)),
        option::of(vec(path_pattern(), 1..3)),
        option::weighted(0.3, hosts),
    );
    (lists, of_connection, headers, jwt, any::<u8>()).prop_map(
        |((from, methods, paths, hosts), (ports, upgrades), headers, jwt, kind)| {
            let deny = kind % 5 == 0;
            let paths = paths.map(|mut paths| {
                paths.sort();
                // `{x}` is `*`, and a trailing slash means nothing: these would be duplicates.
                let mut known = Vec::new();
                paths.retain(|path| {
                    let meaning = path.replace("{x}", "*").trim_end_matches('/').to_owned();
                    let new = !known.contains(&meaning);
                    known.push(meaning);
                    new
                });
                paths
            });
            let mut rule = Rule {
                name: String::new(),
                deny,
                shadow: kind % 7 == 0,
                from: without_doubles(from),
                methods,
                paths,
                hosts,
                ports,
                upgrades,
                headers,
                jwt,
                db_role: None,
            };
            // Allows of equal weight must have the same role; this makes sure of it.
            let role = format!("r{}{}", u8::from(rule.methods.is_some()), rule.conditions());
            rule.db_role = (!deny).then_some(role);
            rule
        },
    )
}

/// What a `/…` stands for may not be listed besides.
fn without_doubles(mut from: Vec<String>) -> Vec<String> {
    let ours: Vec<String> = from.iter().filter(|from| from.starts_with('/')).cloned().collect();
    from.retain(|from| !ours.iter().any(|short| spelled_out(short).contains(from)));
    from
}

/// The patterns that a caller's pattern stands for, as a slice has them.
fn spelled_out(from: &str) -> Vec<String> {
    if !from.starts_with('/') {
        return vec![from.to_owned()];
    }
    TRUST_DOMAINS.iter().map(|domain| format!("spiffe://{domain}{from}")).collect()
}

fn path_pattern() -> impl Strategy<Value = String> {
    let segment = select(&["a", "b", "a b", "é", "*", "{x}"][..]);
    let path =
        (vec(segment, 0..4), any::<bool>(), any::<bool>()).prop_map(|(mut parts, rest, slash)| {
            if rest {
                parts.push("**");
            }
            let slash = if slash && !parts.is_empty() { "/" } else { "" };
            format!("/{}{slash}", parts.join("/"))
        });
    proptest::prop_oneof![19 => path, 1 => Just("*".to_owned())]
}

fn request() -> impl Strategy<Value = Request> {
    let good = select(&["a", "b", "c", "a%20b", "%C3%A9", "%c3%a9", "A", "a%2Cb"][..]);
    let bad = select(
        &[
            "", ".", "..", "%61", "a;b", "%2f", "%", "%2", "%00", "%ff", "%2561", "a\\b", "a#b",
            "%7E",
        ][..],
    );
    let segment = proptest::prop_oneof![30 => good, 1 => bad];
    let query = select(&["", "", "/", "?", "?x=/../%2f;"][..]);
    let plain = (vec(segment, 0..5), query)
        .prop_map(|(parts, query)| format!("/{}{query}", parts.join("/")));
    let path = proptest::prop_oneof![24 => plain, 1 => Just("*".to_owned())];
    let host = select(
        &[
            "a.org",
            "A.org.:80",
            "b.a.org",
            "x.b.a.org",
            "c.a.org",
            "c.org",
            "d",
            "u@a.org",
            "a..org",
        ][..],
    );
    let lines = |names: &'static [&'static str]| {
        let value = select(&["1", "2", "3", "", "1,3", "3, 1", "1,2"][..]);
        let line = (select(names), value)
            .prop_map(|(name, value): (&str, &str)| (name.to_owned(), value.to_owned()));
        vec(line, 0..4)
    };
    let headers = lines(&["x-a", "x-b"]);
    let claims = lines(&["groups", "realm.roles"]);
    let upgrade = option::weighted(0.15, select(&["websocket", "WebSocket", "chat"][..]));
    let connection = (select(&PORTS[..]), upgrade);
    (select(CALLERS), select(METHODS), path, host, connection, headers, claims).prop_map(
        |(from, method, path, authority, (port, upgrade), headers, claims)| Request {
            from: from.to_owned(),
            // What HTTP/2 can ask to be upgraded is a GET.
            method: if upgrade.is_some() { "GET" } else { method }.to_owned(),
            path,
            authority: authority.to_owned(),
            port,
            upgrade: upgrade.map(str::to_owned),
            headers,
            claims,
        },
    )
}

/// What the filter reads.
pub(crate) fn slice(rules: &[Rule]) -> Value {
    let of_slice = |rule: &Rule| {
        let mut value = wire(rule);
        let from: Vec<String> = rule.from.iter().flat_map(|from| spelled_out(from)).collect();
        value["from"] = json!(from);
        value
    };
    let http: Vec<Value> = rules.iter().map(of_slice).collect();
    json!({ "format": 1, "workload": DESTINATION, "http": http })
}

/// Makes rules and requests those of an Envoy that listens at this port: every request comes in there.
pub(crate) fn at_port(rules: &mut [Rule], requests: &mut [Request], port: u16) {
    let elsewhere = port ^ 1;
    for ports in rules.iter_mut().filter_map(|rule| rule.ports.as_mut()) {
        for known in ports {
            *known = if *known == PORTS[0] { port } else { elsewhere };
        }
    }
    for request in requests {
        request.port = port;
    }
}

/// The payload of a token with the request's claims: a claim of several lines is a list, and a `.` in its name leads
/// to a key inside.
pub(crate) fn payload(request: &Request) -> Value {
    let mut payload = json!({});
    for (name, _) in &request.claims {
        let lines = request.claims.iter().filter(|(known, _)| known == name);
        let lines: Vec<&str> = lines.map(|(_, value)| value.as_str()).collect();
        let mut at = &mut payload;
        for key in name.split('.') {
            at = &mut at[key];
        }
        *at = match lines.as_slice() {
            [one] => json!(one),
            several => json!(several),
        };
    }
    payload
}

/// Keeps the denies from the request that asks which policy is in force: its method is none of these.
pub(crate) fn spare_the_marker(rules: &mut [Rule]) {
    for rule in rules.iter_mut().filter(|rule| rule.deny && rule.methods.is_none()) {
        rule.methods = Some(METHODS.iter().map(|method| (*method).to_owned()).collect());
    }
}

/// The document, as JSON, which is YAML. `generation` names its rule that tells it is in force.
pub(crate) fn document(rules: &[Rule], generation: usize) -> String {
    let of_document = |rule: &Rule| {
        let mut value = wire(rule);
        value["to"] = json!(["api"]);
        for key in ["headers", "jwt"] {
            let conditions = value.get_mut(key).and_then(Value::as_object_mut);
            for condition in conditions.into_iter().flat_map(|map| map.values_mut()) {
                if let Some(word) = condition.as_str() {
                    *condition = json!({ word: true });
                }
            }
        }
        value
    };
    let mut http: Vec<Value> = rules.iter().map(of_document).collect();
    let path = format!("/which-policy/{generation}");
    http.push(json!({ "name": "which-policy", "from": ["**"], "to": ["api"], "paths": [path], "hosts": ["which.policy"] }));
    let workloads = json!({ "api": DESTINATION });
    let [trust_domain, alias] = TRUST_DOMAINS;
    let policy = json!({
        "version": 1,
        "trust_domain": trust_domain,
        "trust_domain_aliases": [alias],
        "workloads": workloads,
        "http": http,
    });
    policy.to_string()
}

fn wire(rule: &Rule) -> Value {
    let mut value = json!({ "name": rule.name, "from": rule.from });
    for (key, list) in [
        ("methods", &rule.methods),
        ("paths", &rule.paths),
        ("hosts", &rule.hosts),
        ("upgrades", &rule.upgrades),
    ] {
        if let Some(list) = list {
            value[key] = json!(list);
        }
    }
    if let Some(ports) = &rule.ports {
        value["ports"] = json!(ports);
    }
    if rule.deny {
        value["effect"] = "deny".into();
    }
    if rule.shadow {
        value["mode"] = "shadow".into();
    }
    if let Some(role) = &rule.db_role {
        value["db_role"] = role.as_str().into();
    }
    for (key, conditions) in [("headers", &rule.headers), ("jwt", &rule.jwt)] {
        for (name, condition) in conditions {
            value[key][name] = match condition {
                Condition::Equals(list) => json!({ "equals": list }),
                Condition::Present => json!("present"),
                Condition::Absent => json!("absent"),
            };
        }
    }
    value
}
