//! Who proves what to whom, and where certificates come from.

use serde_json::{Value, json};

use crate::{
    Rule,
    read::{clusters, expect, ingress, items, name, remove, set, typed, under},
};

pub(crate) const RULES: &[Rule] = &[
    Rule {
        name: "downstream TLS resumes no session, of either kind",
        check: no_session_resumption,
        break_it: |configuration| remove(configuration, "disable_stateful_session_resumption"),
    },
    Rule {
        name: "an ingress demands a client certificate and checks it against ROOTCA",
        check: client_certificate,
        break_it: |configuration| set(configuration, "require_client_certificate", &false.into()),
    },
    Rule {
        name: "upstream TLS names exactly whom it talks to",
        check: exact_upstream_identity,
        break_it: |configuration| remove(configuration, "match_typed_subject_alt_names"),
    },
    Rule {
        name: "nothing leaves for another host without TLS",
        check: no_plaintext_upstream,
        break_it: |configuration| remove(configuration, "transport_socket"),
    },
    Rule {
        name: "client-side clusters replace old connections",
        check: max_connection_duration,
        break_it: |configuration| remove(configuration, "max_connection_duration"),
    },
    Rule {
        name: "every source of secrets and filters has the same frozen bytes",
        check: frozen_config_source,
        break_it: |configuration| set(configuration, "initial_fetch_timeout", &"15s".into()),
    },
    Rule {
        name: "the server is a Unix socket, and a dead connection to it is found",
        check: server_keepalive,
        break_it: |configuration| remove(configuration, "connection_keepalive"),
    },
];

fn no_session_resumption(configuration: &Value) -> Result<(), String> {
    for context in typed(configuration, "DownstreamTlsContext") {
        for switch in
            ["disable_stateless_session_resumption", "disable_stateful_session_resumption"]
        {
            expect(context[switch] == true, format_args!("{switch}: {}", context[switch]))?;
        }
    }
    Ok(())
}

fn client_certificate(configuration: &Value) -> Result<(), String> {
    let Some(ingress) = ingress(configuration) else { return Ok(()) };
    for chain in items(&ingress["filter_chains"]) {
        let contexts = typed(&chain["transport_socket"], "DownstreamTlsContext");
        let [context] = contexts[..] else { return Err("found a chain without TLS".to_owned()) };
        let required = &context["require_client_certificate"];
        expect(required == true, format_args!("require_client_certificate: {required}"))?;
        let checked = &context["common_tls_context"]["validation_context_sds_secret_config"];
        expect(name(checked) == "ROOTCA", checked)?;
        expect(
            chain["transport_socket_connect_timeout"].is_string(),
            "no deadline for handshakes",
        )?;
    }
    Ok(())
}

fn exact_upstream_identity(configuration: &Value) -> Result<(), String> {
    for context in typed(configuration, "UpstreamTlsContext") {
        let validation = &context["common_tls_context"]["combined_validation_context"];
        let names = &validation["default_validation_context"]["match_typed_subject_alt_names"];
        let exact = names[0]["matcher"]["exact"].as_str().unwrap_or_default();
        let right = items(names).len() == 1
            && names[0]["san_type"] == "URI"
            && exact.starts_with("spiffe://");
        expect(right, names)?;
        let checked = &validation["validation_context_sds_secret_config"];
        expect(name(checked) == "ROOTCA", checked)?;
    }
    Ok(())
}

fn leaves_this_host(cluster: &Value) -> bool {
    !under(&cluster["load_assignment"], "socket_address").is_empty()
}

fn no_plaintext_upstream(configuration: &Value) -> Result<(), String> {
    for cluster in clusters(configuration).iter().filter(|cluster| leaves_this_host(cluster)) {
        let plain = typed(cluster, "UpstreamTlsContext").is_empty();
        expect(!plain, format_args!("cluster {} without TLS", name(cluster)))?;
    }
    Ok(())
}

fn max_connection_duration(configuration: &Value) -> Result<(), String> {
    for cluster in clusters(configuration).iter().filter(|cluster| leaves_this_host(cluster)) {
        let durations = under(cluster, "max_connection_duration");
        let bounded = durations.iter().any(|duration| duration.is_string());
        expect(bounded, format_args!("cluster {} without a bound", name(cluster)))?;
    }
    Ok(())
}

/// Changing these bytes between versions starves a running Envoy's secrets (envoy#47309).
fn frozen_config_source(configuration: &Value) -> Result<(), String> {
    let frozen = json!({
        "resource_api_version": "V3",
        "initial_fetch_timeout": "0s",
        "api_config_source": {
            "api_type": "GRPC",
            "transport_api_version": "V3",
            "set_node_on_first_message_only": true,
            "grpc_services": [{ "envoy_grpc": { "cluster_name": "signet" } }],
        },
    });
    let mut sources = under(configuration, "sds_config");
    sources.extend(under(configuration, "config_source"));
    expect(!sources.is_empty(), "no source")?;
    sources.iter().try_for_each(|source| expect(**source == frozen, source))
}

fn server_keepalive(configuration: &Value) -> Result<(), String> {
    let server = clusters(configuration).iter().find(|cluster| name(cluster) == "signet");
    let server = server.ok_or("found no cluster signet")?;
    expect(!under(server, "pipe").is_empty(), &server["load_assignment"])?;
    let kept = under(server, "connection_keepalive");
    expect(kept == [&json!({ "interval": "30s", "timeout": "5s" })], format_args!("{kept:?}"))
}
