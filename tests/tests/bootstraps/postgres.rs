//! Postgres opens only when the filter says so.

use serde_json::{Value, json};

use crate::{
    Rule,
    read::{clusters, expect, ingress, items, listeners, name, network_filters, set},
};

pub(crate) const RULES: &[Rule] = &[
    Rule {
        name: "the Postgres proxy's own cluster is deny, and deny echoes",
        check: deny_by_default,
        break_it: |configuration| set(configuration, "cluster", &"postgres".into()),
    },
    Rule {
        name: "a query that goes on is cancelled by the filter's own request, and by no other",
        check: cancels,
        break_it: |configuration| set(configuration, "allow_post", &false.into()),
    },
    Rule {
        name: "as many sessions, denials and cancels as there can be connections",
        check: as_many,
        break_it: |configuration| set(configuration, "max_connections", &1024.into()),
    },
    Rule {
        name: "Postgres is behind a Unix socket",
        check: unix_socket,
        break_it: |configuration| set(configuration, "pipe", &Value::Null),
    },
    Rule {
        name: "a Postgres session waits for the filter, and ends when its client stops reading",
        check: waits_and_ends,
        break_it: |configuration| set(configuration, "idle_timeout", &"0s".into()),
    },
    Rule {
        name: "a Postgres client that takes no byte for a minute is cut off",
        check: unread,
        break_it: |configuration| set(configuration, "socket_options", &json!([])),
    },
];

/// The proxy of the Postgres ingress, where there is one.
fn proxy(configuration: &Value) -> Option<&Value> {
    let filters = network_filters(ingress(configuration)?);
    let proxy = filters.iter().find(|filter| name(filter) == "envoy.filters.network.tcp_proxy");
    proxy.map(|filter| &filter["typed_config"])
}

fn cluster<'a>(configuration: &'a Value, wanted: &str) -> Result<&'a Value, String> {
    let found = clusters(configuration).iter().find(|cluster| name(cluster) == wanted);
    found.ok_or_else(|| format!("found no cluster {wanted}"))
}

fn address<'a>(configuration: &'a Value, wanted: &str) -> Result<&'a Value, String> {
    let cluster = cluster(configuration, wanted)?;
    Ok(&cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"])
}

fn deny_by_default(configuration: &Value) -> Result<(), String> {
    let Some(proxy) = proxy(configuration) else { return Ok(()) };
    expect(proxy["cluster"] == "deny", &proxy["cluster"])?;
    let deny = address(configuration, "deny")?;
    expect(*deny == json!({ "envoy_internal_address": { "server_listener_name": "echo" } }), deny)?;
    let echo = listeners(configuration).iter().find(|listener| name(listener) == "echo");
    let echo = echo.ok_or("found no listener echo")?;
    let echoes = network_filters(echo).len() == 1
        && name(&network_filters(echo)[0]) == "envoy.filters.network.echo";
    expect(echo["internal_listener"].is_object() && echoes, echo)
}

fn cancels(configuration: &Value) -> Result<(), String> {
    if proxy(configuration).is_none() {
        return Ok(());
    }
    let inside = json!({ "envoy_internal_address": { "server_listener_name": "cancel" } });
    let found = address(configuration, "cancel")?;
    expect(*found == inside, found)?;
    let cancel = listeners(configuration).iter().find(|listener| name(listener) == "cancel");
    let cancel = cancel.ok_or("found no listener cancel")?;
    expect(cancel["internal_listener"].is_object(), cancel)?;
    let [http] = network_filters(cancel) else { return Err(format!("found {cancel}")) };
    let routes = &http["typed_config"]["route_config"]["virtual_hosts"][0]["routes"];
    let [route] = items(routes) else { return Err(format!("found {routes}")) };
    let way = &route["route"];
    let takes_bytes = way["upgrade_configs"][0]["connect_config"]["allow_post"] == true;
    expect(
        route["match"]["path"] == "/cancel" && way["cluster"] == "postgres" && takes_bytes,
        route,
    )
}

/// Envoy's own limit is 1,024 to a cluster, beyond which it closes without a word.
fn as_many(configuration: &Value) -> Result<(), String> {
    if proxy(configuration).is_none() {
        return Ok(());
    }
    let monitor = &configuration["overload_manager"]["resource_monitors"][0]["typed_config"];
    let connections = &monitor["max_active_downstream_connections"];
    for name in ["postgres", "deny", "cancel"] {
        let limits = &cluster(configuration, name)?["circuit_breakers"]["thresholds"][0];
        for limit in ["max_connections", "max_pending_requests"] {
            let enough = connections.is_u64() && limits[limit] == *connections;
            expect(enough, format_args!("{limit} of {name}: {}", limits[limit]))?;
        }
    }
    Ok(())
}

fn unix_socket(configuration: &Value) -> Result<(), String> {
    if proxy(configuration).is_none() {
        return Ok(());
    }
    let postgres = address(configuration, "postgres")?;
    expect(postgres["pipe"]["path"].is_string(), postgres)
}

/// `IPPROTO_TCP` and `TCP_USER_TIMEOUT` of Linux, which takes milliseconds.
fn unread(configuration: &Value) -> Result<(), String> {
    if proxy(configuration).is_none() {
        return Ok(());
    }
    let options = ingress(configuration).map_or(&Value::Null, |ingress| &ingress["socket_options"]);
    let bounds = |option: &Value| {
        option["level"] == 6 && option["name"] == 18 && option["int_value"] == 60_000
    };
    expect(options.as_array().is_some_and(|options| options.iter().any(bounds)), options)
}

fn waits_and_ends(configuration: &Value) -> Result<(), String> {
    let Some(proxy) = proxy(configuration) else { return Ok(()) };
    let early = &proxy["max_early_data_bytes"];
    expect(early.as_u64() >= Some(10_004), format_args!("max_early_data_bytes: {early}"))?;
    let idle = proxy["idle_timeout"].as_str().unwrap_or("none");
    expect(
        idle.ends_with('s') && !["0s", "0.0s"].contains(&idle),
        format_args!("idle_timeout: {idle}"),
    )
}
