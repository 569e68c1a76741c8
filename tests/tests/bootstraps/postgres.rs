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
    let found = found.ok_or_else(|| format!("found no cluster {wanted}"))?;
    Ok(&found["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"])
}

fn deny_by_default(configuration: &Value) -> Result<(), String> {
    let Some(proxy) = proxy(configuration) else { return Ok(()) };
    expect(proxy["cluster"] == "deny", &proxy["cluster"])?;
    let deny = cluster(configuration, "deny")?;
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
    let address = cluster(configuration, "cancel")?;
    let inside = json!({ "envoy_internal_address": { "server_listener_name": "cancel" } });
    expect(*address == inside, address)?;
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

fn unix_socket(configuration: &Value) -> Result<(), String> {
    if proxy(configuration).is_none() {
        return Ok(());
    }
    let postgres = cluster(configuration, "postgres")?;
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
