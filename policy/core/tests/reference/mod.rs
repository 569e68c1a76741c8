//! The meaning of a policy, rule by rule and as plainly as can be. It works on the patterns' text and shares no code with
//! the crate's own evaluation.

use std::cmp::Reverse;

use signet_policy::{Effect, HeaderCondition, HttpDecision, HttpRule, Mode, Slice};

use crate::random::Ask;

/// What is decided, as `allow RULE ROLE`, `deny RULE` or the reason.
pub(crate) fn told(decision: &HttpDecision<'_>) -> String {
    match decision {
        HttpDecision::Allow { rule, db_role } => format!("allow {rule} {}", db_role.unwrap_or("-")),
        _ => format!("deny {}", decision.rule().unwrap_or(decision.reason())),
    }
}

/// The weight of a rule's match: greater is heavier. Segments weigh 3 (a literal or the end), 2 (`*`), 1 (`**`).
type Weight = (Option<Vec<u8>>, Vec<u8>, Option<(bool, usize)>, bool, usize);

pub(crate) fn http(slice: &Slice, ask: &Ask, with_shadow: bool) -> String {
    let heaviest = |effect| {
        let matches = slice
            .http
            .iter()
            .filter(|rule| rule.effect == effect && (with_shadow || rule.mode == Mode::Enforce));
        matches
            .filter_map(|rule| Some((weight(rule, ask)?, Reverse(rule.name.as_str()), rule)))
            .max_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)))
            .map(|(_, _, rule)| rule)
    };
    if let Some(rule) = heaviest(Effect::Deny) {
        return format!("deny {}", rule.name);
    }
    heaviest(Effect::Allow).map_or_else(
        || "deny no_rule".to_owned(),
        |rule| {
            let role = rule.db_role.as_ref().map_or("-", |role| role.as_str());
            format!("allow {} {role}", rule.name)
        },
    )
}

fn weight(rule: &HttpRule, ask: &Ask) -> Option<Weight> {
    let header = |name: &str| {
        ask.headers
            .iter()
            .filter(|(known, _)| *known == name)
            .map(|(_, value)| value.clone())
            .collect()
    };
    let first = |name: &str| -> Option<String> { Vec::into_iter(header(name)).next() };
    let deny = rule.effect == Effect::Deny;

    let asked = first(":path").unwrap();
    let asked = asked.split('?').next().unwrap().replace("%C3%A9", "é").replace("%20", " ");
    let path = match &rule.paths {
        None => None,
        Some(paths) => {
            Some(paths.iter().filter_map(|path| match_path(&path.to_string(), &asked)).max()?)
        }
    };
    let id = split(ask.from.strip_prefix("spiffe://").unwrap());
    let from = rule.from.iter().filter_map(|p| match_id(&p.to_string(), &id)).max()?;
    let host = match (&rule.hosts, first(":authority")) {
        (None, _) => None,
        (Some(_), None) if deny => None,
        (Some(_), None) => return None,
        (Some(hosts), Some(asked)) => {
            let asked = asked.trim_end_matches(":80").trim_end_matches('.').to_lowercase();
            let matching = |host: String| match host.strip_prefix("*.") {
                Some(name) if asked.ends_with(&format!(".{name}")) => {
                    Some((false, name.split('.').count()))
                }
                None if host == asked => Some((true, 0)),
                _ => None,
            };
            Some(hosts.iter().filter_map(|host| matching(host.to_string())).max()?)
        }
    };
    let method = first(":method").unwrap();
    let method_fits =
        rule.methods.as_ref().is_none_or(|list| list.iter().any(|m| m.as_str() == method));
    let port_fits = match (&rule.ports, ask.port) {
        (None, _) => true,
        (Some(ports), Some(port)) => ports.contains(&port),
        (Some(_), None) => deny,
    };
    let upgrades: Vec<String> = header("upgrade");
    let upgrades: Vec<String> =
        upgrades.iter().flat_map(|line| line.split(',')).map(|p| p.trim().to_lowercase()).collect();
    let listed =
        |protocol: &String| rule.upgrades.iter().flatten().any(|known| known.as_str() == protocol);
    let upgrade_fits = match (deny, &rule.upgrades) {
        (false, _) => upgrades.iter().all(listed),
        (true, None) => true,
        (true, Some(_)) => upgrades.iter().any(listed),
    };
    let claims = |name: &str| {
        ask.claims.iter().filter(|(known, _)| *known == name).map(|(_, v)| v.clone()).collect()
    };
    let conditions_fit = rule.headers.iter().all(|(name, condition)| {
        let mut values: Vec<String> = header(name.as_str());
        if deny {
            let parts: Vec<String> = values
                .iter()
                .flat_map(|line| line.split(','))
                .map(|p| p.trim().to_owned())
                .collect();
            values.extend(parts);
        }
        satisfied(condition, deny, &values)
    }) && rule.jwt.iter().all(|(name, condition)| {
        let values: Vec<String> = claims(name.as_str());
        satisfied(condition, deny, &values)
    });
    let others = rule.headers.len()
        + rule.jwt.len()
        + usize::from(rule.ports.is_some())
        + usize::from(rule.upgrades.is_some());
    (method_fits && port_fits && upgrade_fits && conditions_fit).then_some((
        path,
        from,
        host,
        rule.methods.is_some(),
        others,
    ))
}

fn satisfied(condition: &HeaderCondition, deny: bool, values: &[String]) -> bool {
    match condition {
        HeaderCondition::Absent => values.is_empty(),
        HeaderCondition::Present => !values.is_empty(),
        HeaderCondition::Equals(list) if deny => values.iter().any(|value| list.contains(value)),
        HeaderCondition::Equals(list) => {
            !values.is_empty() && values.iter().all(|value| list.contains(value))
        }
    }
}

fn split(text: &str) -> Vec<String> {
    text.split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect()
}

fn match_path(pattern: &str, asked: &str) -> Option<Vec<u8>> {
    match (pattern, asked) {
        ("*", "*") => Some(vec![3; DEPTH]),
        ("*", _) | (_, "*") => None,
        _ => match_segments(&split(pattern), &split(asked), 0),
    }
}

fn match_id(pattern: &str, id: &[String]) -> Option<Vec<u8>> {
    let pattern = pattern.strip_prefix("spiffe://").unwrap_or(pattern);
    match_segments(&split(pattern), id, 1)
}

/// Deeper than any pattern here.
const DEPTH: usize = 8;

/// The weights of the pattern's segments, filled up with that of its end.
fn match_segments(pattern: &[String], asked: &[String], least_rest: usize) -> Option<Vec<u8>> {
    let mut weights = Vec::new();
    for (i, segment) in pattern.iter().enumerate() {
        match (segment.as_str(), asked.get(i)) {
            ("**", _) if asked.len() >= i + least_rest => {
                weights.push(1);
                weights.resize(DEPTH, 3);
                return Some(weights);
            }
            ("*", Some(_)) => weights.push(2),
            (literal, Some(found)) if literal == found => weights.push(3),
            _ => return None,
        }
    }
    weights.resize(DEPTH, 3);
    (pattern.len() == asked.len()).then_some(weights)
}

pub(crate) fn postgres(slice: &Slice, from: &str, database: &str) -> String {
    let id = split(from.strip_prefix("spiffe://").unwrap());
    let named: Vec<_> = slice
        .postgres
        .iter()
        .filter_map(|rule| {
            let from = rule.from.iter().filter_map(|p| match_id(&p.to_string(), &id)).max()?;
            Some((from, rule))
        })
        .collect();
    let heaviest = named
        .iter()
        .filter_map(|(from, rule)| {
            let exact = rule.databases.iter().any(|name| name.as_str() == database);
            let any = rule.databases.iter().any(|name| name.as_str() == "*");
            (exact || any).then_some((from, exact, Reverse(rule.name.as_str())))
        })
        .max();
    match heaviest {
        Some((_, _, Reverse(name))) => name.to_owned(),
        None if named.is_empty() => "no_rule".to_owned(),
        None => "database_not_allowed".to_owned(),
    }
}
