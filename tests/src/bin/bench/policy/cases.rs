//! What stands in Envoy's filter chain, case by case.

use std::path::Path;

use e2e::Workload;
use serde_json::{Value, json};

use super::{
    rules::{DB_ROLE, Rules, rbac_list, rbac_tree},
    steps::Step,
};
use crate::figures::thousands;

/// A filter chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    /// The router alone.
    NoFilter,
    /// `spiffe_authz.wasm`.
    Ours(Rules),
    /// Envoy's RBAC: a list of policies.
    List(usize),
    /// Envoy's RBAC: a matcher tree keyed on the URI SAN.
    Tree(usize),
    /// The tree, and `header_mutation` of the three headers that our filter writes.
    TreeAndHeaders(usize),
    /// Lua: reads the URI SAN, compares it, sets one header.
    Lua,
    /// A Wasm filter that decides nothing.
    Wasm(Step),
}

impl Case {
    /// In the order in which a round takes them.
    pub(super) const ALL: [Self; 22] = [
        Self::NoFilter,
        Self::Ours(Rules::Callers(1)),
        Self::Ours(Rules::Callers(100)),
        Self::Ours(Rules::Callers(1_000)),
        Self::Ours(Rules::Callers(10_000)),
        Self::Ours(Rules::Callers(100_000)),
        Self::Ours(Rules::Paths(100_000)),
        Self::List(1),
        Self::List(100),
        Self::List(1_000),
        Self::Tree(1),
        Self::Tree(1_000),
        Self::Tree(10_000),
        Self::TreeAndHeaders(1_000),
        Self::TreeAndHeaders(10_000),
        Self::Lua,
        Self::Wasm(Step::Empty),
        Self::Wasm(Step::Peer),
        Self::Wasm(Step::Headers),
        Self::Wasm(Step::Log),
        Self::Wasm(Step::Stripped),
        Self::Wasm(Step::Told),
    ];

    /// For files and JSON.
    pub(super) fn key(self) -> String {
        match self {
            Self::NoFilter => "no-filter".to_owned(),
            Self::Ours(Rules::Callers(count)) => format!("ours-{count}"),
            Self::Ours(Rules::Paths(count)) => format!("ours-paths-{count}"),
            Self::List(count) => format!("rbac-list-{count}"),
            Self::Tree(count) => format!("rbac-tree-{count}"),
            Self::TreeAndHeaders(count) => format!("rbac-tree-headers-{count}"),
            Self::Lua => "lua".to_owned(),
            Self::Wasm(step) => format!("wasm-{}", step.key()),
        }
    }

    /// For people.
    pub(super) fn title(self) -> String {
        match self {
            Self::NoFilter => "no filter".to_owned(),
            Self::Ours(Rules::Callers(1)) => "spiffe-authz, 1 rule".to_owned(),
            Self::Ours(Rules::Callers(count)) => {
                format!("spiffe-authz, {} rules", thousands(count))
            }
            Self::Ours(Rules::Paths(count)) => {
                format!("spiffe-authz, {} rules, `**` callers, a path each", thousands(count))
            }
            Self::List(count) => format!("RBAC, list of {}", thousands(count)),
            Self::Tree(count) => format!("RBAC, matcher tree of {}", thousands(count)),
            Self::TreeAndHeaders(count) => {
                format!("RBAC, matcher tree of {} + header_mutation", thousands(count))
            }
            Self::Lua => "Lua: one comparison, one header".to_owned(),
            Self::Wasm(step) => step.title().to_owned(),
        }
    }

    /// What its callers ask for, in turn.
    pub(super) fn asked(self) -> Vec<String> {
        match self {
            Self::Ours(rules) => rules.asked(),
            _ => Rules::Callers(1).asked(),
        }
    }

    /// The headers that the API must be told about the first request.
    pub(super) fn told(self) -> Vec<(&'static str, String)> {
        let caller = ("x-spiffe-id", Workload::Client.spiffe_id());
        let all = |rules: Rules| {
            let rule = ("x-signet-rule", rules.deciding());
            vec![caller.clone(), ("x-db-role", DB_ROLE.to_owned()), rule]
        };
        match self {
            Self::Ours(rules) => all(rules),
            // It takes no forged role out, as ours does.
            Self::Wasm(Step::Told) => vec![caller, ("x-signet-rule", Rules::Callers(1).deciding())],
            Self::TreeAndHeaders(count) => all(Rules::Callers(count)),
            Self::Lua => vec![caller],
            Self::NoFilter | Self::List(_) | Self::Tree(_) | Self::Wasm(_) => Vec::new(),
        }
    }

    /// False where nothing is ever denied.
    pub(super) fn decides(self) -> bool {
        !matches!(self, Self::NoFilter | Self::Wasm(_))
    }

    /// The HTTP filters before the router.
    pub(super) fn filters(self, modules: &Modules<'_>) -> Vec<Value> {
        match self {
            Self::NoFilter => vec![],
            Self::Ours(rules) => vec![wasm("signet.http", modules.ours, &rules.slice())],
            Self::List(count) => vec![filter("rbac", "rbac.v3.RBAC", rbac_list(count))],
            Self::Tree(count) => vec![filter("rbac", "rbac.v3.RBAC", rbac_tree(count))],
            Self::TreeAndHeaders(count) => {
                let mut filters = Self::Tree(count).filters(modules);
                filters.push(header_mutation(&self.told()));
                filters
            }
            Self::Lua => vec![lua()],
            Self::Wasm(step) => {
                let file = format!("{}.wasm", step.key());
                vec![wasm(step.key(), &modules.steps.join(file), "")]
            }
        }
    }
}

/// The files of the Wasm modules.
#[derive(Clone, Copy, Debug)]
pub(super) struct Modules<'a> {
    pub(super) ours: &'a Path,
    /// The directory of the steps.
    pub(super) steps: &'a Path,
}

fn filter(name: &str, kind: &str, mut configuration: Value) -> Value {
    configuration["@type"] =
        format!("type.googleapis.com/envoy.extensions.filters.http.{kind}").into();
    json!({ "name": format!("envoy.filters.http.{name}"), "typed_config": configuration })
}

/// As sds-server configures it, but without a server.
fn wasm(name: &str, module: &Path, configuration: &str) -> Value {
    let configuration = json!({
        "@type": "type.googleapis.com/google.protobuf.StringValue",
        "value": configuration,
    });
    let plugin = json!({
        "name": name,
        "failure_policy": "FAIL_RELOAD",
        "vm_config": {
            "vm_id": name,
            "runtime": "envoy.wasm.runtime.v8",
            "code": { "local": { "filename": module } },
        },
        "configuration": configuration,
    });
    filter("wasm", "wasm.v3.Wasm", json!({ "config": plugin }))
}

/// Writes what our filter would. The values are constants here: a tree hands none on.
fn header_mutation(told: &[(&'static str, String)]) -> Value {
    let mutations: Vec<Value> = told
        .iter()
        .map(|(name, value)| {
            let value = if *name == "x-spiffe-id" { "%DOWNSTREAM_PEER_URI_SAN%" } else { value };
            json!({ "append": {
                "header": { "key": name, "value": value },
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            } })
        })
        .collect();
    let mutations = json!({ "mutations": { "request_mutations": mutations } });
    filter("header_mutation", "header_mutation.v3.HeaderMutation", mutations)
}

fn lua() -> Value {
    let script = r#"
function envoy_on_request(request)
  local san = request:streamInfo():downstreamSslConnection():uriSanPeerCertificate()[1]
  if san ~= "CALLER" then
    request:respond({[":status"] = "403"}, "denied")
    return
  end
  request:headers():replace("x-spiffe-id", san)
end
"#;
    let script = script.replace("CALLER", &Workload::Client.spiffe_id());
    filter("lua", "lua.v3.Lua", json!({ "default_source_code": { "inline_string": script } }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_a_key_of_its_own() {
        let mut keys: Vec<String> = Case::ALL.iter().map(|case| case.key()).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), Case::ALL.len());
    }
}
