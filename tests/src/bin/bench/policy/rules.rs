//! The same rules in three languages: a slice for our filter, Envoy's RBAC as a list, and as a tree.
//!
//! One rule per caller, all for the same path, with the bench's own caller in the last one: so a
//! service with many callers looks, and so a list shows its cost. A second set has any caller and a
//! path of its own per rule.

use e2e::{TRUST_DOMAIN, Workload};
use serde_json::{Map, Value, json};

/// What the API is told along with every allowed request.
pub(super) const DB_ROLE: &str = "customers_reader";

/// Paths that callers ask for in turn where each rule has its own: enough to leave the caches cold.
const ASKED_PATHS: usize = 4096;

/// A set of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rules {
    /// This many callers, one rule each, the same path.
    Callers(usize),
    /// This many paths, one rule each, any caller.
    Paths(usize),
}

impl Rules {
    /// How many rules.
    pub(super) fn count(self) -> usize {
        match self {
            Self::Callers(count) | Self::Paths(count) => count,
        }
    }

    /// What to ask for, in turn. Every one is allowed to [`Workload::Client`].
    pub(super) fn asked(self) -> Vec<String> {
        match self {
            Self::Callers(_) => vec!["/customers/7".to_owned()],
            Self::Paths(count) => {
                let asked = count.min(ASKED_PATHS);
                (1..=asked).map(|nth| format!("{}/7", owned_path(nth * count / asked))).collect()
            }
        }
    }

    /// The rule that decides about the first of [`Rules::asked`].
    pub(super) fn deciding(self) -> String {
        match self {
            Self::Callers(count) => name(count),
            Self::Paths(count) => name(count / count.min(ASKED_PATHS)),
        }
    }

    /// The slice of the API's filter.
    pub(super) fn slice(self) -> String {
        let rules: Vec<Value> = (1..=self.count()).map(|nth| self.rule(nth)).collect();
        json!({ "format": 1, "http": rules, "workload": Workload::Api.spiffe_id() }).to_string()
    }

    fn rule(self, nth: usize) -> Value {
        let (from, path) = match self {
            Self::Callers(count) => (caller(nth, count), "/customers/{id}".to_owned()),
            Self::Paths(_) => ("**".to_owned(), owned_path(nth) + "/{id}"),
        };
        json!({
            "db_role": DB_ROLE,
            "from": [from],
            "methods": ["GET"],
            "name": name(nth),
            "paths": [path],
        })
    }
}

/// RBAC with a policy per caller. Envoy tries them in the order of their names.
pub(super) fn rbac_list(count: usize) -> Value {
    let policies: Map<String, Value> = (1..=count)
        .map(|nth| {
            let policy = json!({
                "permissions": [{ "and_rules": { "rules": [
                    { "header": { "name": ":method", "string_match": { "exact": "GET" } } },
                    { "url_path": { "path": { "prefix": "/customers/" } } },
                ] } }],
                "principals": [{ "authenticated": { "principal_name": { "exact": caller(nth, count) } } }],
            });
            (name(nth), policy)
        })
        .collect();
    json!({ "rules": { "action": "ALLOW", "policies": policies } })
}

/// RBAC with a hash table keyed on the caller. It looks at nothing else.
pub(super) fn rbac_tree(count: usize) -> Value {
    let action = |name: &str, action: &str| {
        json!({ "action": {
            "name": name,
            "typed_config": {
                "@type": "type.googleapis.com/envoy.config.rbac.v3.Action",
                "name": name,
                "action": action,
            },
        } })
    };
    let callers: Map<String, Value> =
        (1..=count).map(|nth| (caller(nth, count), action(&name(nth), "ALLOW"))).collect();
    json!({ "matcher": {
        "matcher_tree": {
            "input": {
                "name": "uri-san",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.matching.common_inputs.ssl.v3.UriSanInput",
                },
            },
            "exact_match_map": { "map": callers },
        },
        "on_no_match": action("default-deny", "DENY"),
    } })
}

/// The caller of a rule; the bench itself in the last one.
fn caller(nth: usize, count: usize) -> String {
    if nth == count {
        return Workload::Client.spiffe_id();
    }
    format!("spiffe://{TRUST_DOMAIN}/ns/team-{}/sa/service-{nth}", nth % 100)
}

/// The path of a rule that shares it with no other.
fn owned_path(nth: usize) -> String {
    format!("/teams/{}/services/{nth}", nth % 100)
}

/// Zeros in front, so that the order of names is that of numbers.
fn name(nth: usize) -> String {
    format!("rule-{nth:06}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_is_in_the_last_rule_of_every_language() {
        let (client, last) = (Workload::Client.spiffe_id(), "rule-000100");
        let slice: Value = serde_json::from_str(&Rules::Callers(100).slice()).unwrap();
        assert_eq!(
            (&slice["http"][99]["from"][0], &slice["http"][99]["name"]),
            (&json!(client), &json!(last))
        );
        let policies = rbac_list(100);
        let principal = &policies["rules"]["policies"][last]["principals"][0];
        assert_eq!(principal["authenticated"]["principal_name"]["exact"], client);
        let tree = rbac_tree(100);
        let map = tree["matcher"]["matcher_tree"]["exact_match_map"]["map"].as_object().unwrap();
        assert_eq!((map.len(), &map[&client]["action"]["name"]), (100, &json!(last)));
    }

    #[test]
    fn paths_are_asked_for_from_everywhere_in_the_set() {
        for (count, first, last) in [
            (10, "/teams/1/services/1/7", "/teams/10/services/10/7"),
            (100_000, "/teams/24/services/24/7", "/teams/0/services/100000/7"),
        ] {
            let asked = Rules::Paths(count).asked();
            assert_eq!((asked[0].as_str(), asked.last().unwrap().as_str()), (first, last));
            let mut different = asked.clone();
            different.sort();
            different.dedup();
            assert_eq!(different.len(), asked.len());
        }
        assert_eq!(Rules::Paths(100_000).deciding(), "rule-000024");
    }
}
