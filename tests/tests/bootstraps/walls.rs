//! Who can reach what on the host, and what stands behind our filters.

use serde_json::{Value, json};

use crate::{
    Rule,
    read::{
        expect, ingress, items, listeners, name, network_filters, remove, rename, set, typed, under,
    },
};

pub(crate) const RULES: &[Rule] = &[
    Rule {
        name: "egress listeners are Unix sockets of mode 0660",
        check: egress_sockets,
        break_it: |configuration| set(configuration, "mode", &json!(0o666)),
    },
    Rule {
        name: "the admin interface is a Unix socket of mode 0600",
        check: admin_socket,
        break_it: |configuration| set(configuration, "mode", &json!(0o660)),
    },
    Rule {
        name: "one listener forwards /stats/prometheus and /ready to the admin interface, and nothing else does more",
        check: metrics,
        break_it: |configuration| rename(configuration, "path", "prefix"),
    },
    Rule {
        name: "probes have a listener of their own, with fixed paths",
        check: probes,
        break_it: |configuration| rename(configuration, "path", "prefix"),
    },
    Rule {
        name: "our Wasm filters come by ECDS, without a default",
        check: wasm_by_ecds,
        break_it: |configuration| {
            set(configuration, "apply_default_config_without_warming", &true.into());
        },
    },
    Rule {
        name: "the filter state names the end of the peer's certificate and all its URI SANs",
        check: peer_filter_state,
        break_it: |configuration| {
            rename(configuration, "on_downstream_tls_handshake", "on_new_connection");
        },
    },
    Rule {
        name: "a native RBAC stands right behind our filter",
        check: second_wall,
        break_it: |configuration| remove(configuration, "principals"),
    },
    Rule {
        name: "an HTTP filter of ours that is missing denies",
        check: filters_own_word,
        break_it: |configuration| remove(configuration, "filter_state"),
    },
    Rule {
        name: "a probe carries no header of ours, and no query, to what it asks",
        check: probes_say_nothing,
        break_it: |configuration| remove(configuration, "remove_on_match"),
    },
    Rule {
        name: "no filters inside upgrade_configs, no typed_per_filter_config",
        check: no_side_doors,
        break_it: |configuration| {
            configuration["static_resources"]["typed_per_filter_config"] = json!({});
        },
    },
    Rule {
        name: "ingress access logs name identity, rule, decision, role and reason",
        check: access_logs,
        break_it: |configuration| remove(configuration, "rule"),
    },
];

fn egress_sockets(configuration: &Value) -> Result<(), String> {
    let all = listeners(configuration).iter();
    for listener in all.filter(|listener| name(listener).starts_with("egress")) {
        let mode = &listener["address"]["pipe"]["mode"];
        expect(*mode == 0o660, format_args!("{}: {}", name(listener), listener["address"]))?;
    }
    Ok(())
}

fn admin_socket(configuration: &Value) -> Result<(), String> {
    let address = &configuration["admin"]["address"];
    expect(address["pipe"]["mode"] == 0o600, address)
}

/// The routes of all HTTP in a part of the configuration.
fn routes(part: &Value) -> Vec<&Value> {
    under(part, "routes").into_iter().flat_map(items).collect()
}

fn metrics(configuration: &Value) -> Result<(), String> {
    for listener in listeners(configuration) {
        let to_admin = |route: &&Value| route["route"]["cluster"] == "admin";
        let asked: Vec<&str> = routes(listener)
            .into_iter()
            .filter(to_admin)
            .map(|route| {
                let path = route["match"]["path"].as_str().unwrap_or("a whole prefix");
                route["route"]["prefix_rewrite"].as_str().unwrap_or(path)
            })
            .collect();
        let accepted: &[&str] = match name(listener) {
            "metrics" => &["/stats/prometheus", "/ready"],
            "probes" => &["/ready"],
            _ => &[],
        };
        expect(asked == accepted, format_args!("{}: {asked:?}", name(listener)))?;
    }
    let present = listeners(configuration).iter().any(|listener| name(listener) == "metrics");
    expect(present, "no listener metrics")
}

fn probes(configuration: &Value) -> Result<(), String> {
    let probes = listeners(configuration).iter().find(|listener| name(listener) == "probes");
    let routes = routes(probes.ok_or("found no listener probes")?);
    expect(!routes.is_empty(), "no route")?;
    for route in routes {
        let only_get = under(&route["match"]["headers"], "exact").contains(&&json!("GET"));
        expect(route["match"]["path"].is_string() && only_get, &route["match"])?;
    }
    Ok(())
}

fn wasm_by_ecds(configuration: &Value) -> Result<(), String> {
    expect(typed(configuration, "Wasm").is_empty(), "a filter written into the file")?;
    let discovered = under(configuration, "config_discovery");
    let wanted = usize::from(ingress(configuration).is_some());
    expect(discovered.len() == wanted, format_args!("{} filters", discovered.len()))?;
    for discovery in discovered {
        expect(discovery.get("default_config").is_none(), "a default_config")?;
        let unwarmed = &discovery["apply_default_config_without_warming"];
        expect(
            unwarmed == false,
            format_args!("apply_default_config_without_warming: {unwarmed}"),
        )?;
        let kinds = items(&discovery["type_urls"]);
        let wasm =
            kinds.len() == 1 && kinds[0].as_str().is_some_and(|kind| kind.ends_with(".Wasm"));
        expect(wasm, &discovery["type_urls"])?;
    }
    Ok(())
}

fn peer_filter_state(configuration: &Value) -> Result<(), String> {
    let Some(ingress) = ingress(configuration) else { return Ok(()) };
    let first = network_filters(ingress).first().unwrap_or(&Value::Null);
    let state = &first["typed_config"]["on_downstream_tls_handshake"][0];
    let wanted = "%DOWNSTREAM_PEER_CERT_V_END(%s)%|%DOWNSTREAM_PEER_URI_SAN%";
    let text = &state["format_string"]["text_format_source"]["inline_string"];
    expect(state["object_key"] == "signet.peer" && text == wanted, first)
}

/// The filters among which ours stands: of the connection, or of HTTP.
fn neighbours(configuration: &Value) -> &[Value] {
    let Some(ingress) = ingress(configuration) else { return &[] };
    let http = under(ingress, "http_filters");
    http.first().map_or_else(|| network_filters(ingress), |filters| items(filters))
}

fn second_wall(configuration: &Value) -> Result<(), String> {
    let filters = neighbours(configuration);
    if filters.is_empty() {
        return Ok(());
    }
    let ours = filters.iter().position(|filter| name(filter).starts_with("signet."));
    let behind = &filters[ours.ok_or("found no filter of ours")? + 1];
    let rules = &behind["typed_config"]["rules"];
    let principals = under(rules, "principals");
    let callers = json!(principals);
    let callers = under(&callers, "principal_name");
    let of_the_domain = callers.iter().all(|caller| {
        let prefix = caller["prefix"].as_str();
        prefix.is_some_and(|text| text.starts_with("spiffe://") && text.ends_with('/'))
    });
    expect(rules["action"] == "ALLOW" && !callers.is_empty() && of_the_domain, behind)
}

fn filters_own_word(configuration: &Value) -> Result<(), String> {
    let Some(ingress) = ingress(configuration) else { return Ok(()) };
    let second = |filter: &&Value| name(filter) == "envoy.filters.http.rbac";
    for filters in under(ingress, "http_filters") {
        let wall = items(filters).iter().find(second).unwrap_or(&Value::Null);
        for principal in under(wall, "principals").into_iter().flat_map(items) {
            let demanded = items(&principal["and_ids"]["ids"]).iter().any(|id| {
                let state = &id["filter_state"];
                state["key"] == "wasm.signet.decision" && state["string_match"]["prefix"] == "allow"
            });
            expect(demanded, principal)?;
        }
    }
    Ok(())
}

fn probes_say_nothing(configuration: &Value) -> Result<(), String> {
    let probes = listeners(configuration).iter().filter(|listener| name(listener) == "probes");
    for listener in probes {
        let to_a_workload = |route: &&Value| {
            route["route"]["cluster"].as_str().is_some_and(|cluster| cluster != "admin")
        };
        for route in routes(listener).into_iter().filter(to_a_workload) {
            let whole =
                json!({ "name": ":path", "string_match": { "exact": route["match"]["path"] } });
            expect(items(&route["match"]["headers"]).contains(&whole), route)?;
            let removed = under(listener, "remove_on_match");
            let all_extensions = json!({ "key_matcher": { "prefix": "x-" } });
            expect(removed.contains(&&all_extensions), format_args!("{removed:?}"))?;
        }
    }
    Ok(())
}

fn no_side_doors(configuration: &Value) -> Result<(), String> {
    let upgrades = under(configuration, "upgrade_configs");
    for upgrade in upgrades.into_iter().flat_map(items) {
        expect(upgrade.get("filters").is_none(), upgrade)?;
    }
    let door = "typed_per_filter_config";
    expect(under(configuration, door).is_empty(), door)
}

fn access_logs(configuration: &Value) -> Result<(), String> {
    let Some(ingress) = ingress(configuration) else { return Ok(()) };
    for filter in network_filters(ingress) {
        let config = &filter["typed_config"];
        let wanted: &[&str] = match name(filter) {
            "envoy.filters.network.http_connection_manager" => {
                &["spiffe_id", "rule", "decision", "reason", "request_id", "details"]
            }
            "envoy.filters.network.tcp_proxy" => {
                &["spiffe_id", "rule", "decision", "role", "reason", "session_id"]
            }
            _ => continue,
        };
        let format = &config["access_log"][0]["typed_config"]["log_format"]["json_format"];
        for key in wanted {
            expect(format[key].is_string(), format_args!("{key}: {}", format[key]))?;
        }
    }
    Ok(())
}
