//! Listeners that need nothing but a secret to come up.

use serde_json::{Value, json};

/// Where secrets come from in the bootstraps of a pair: its SDS cluster, by `GRPC` or `DELTA_GRPC`, with a
/// stream for each.
pub fn config_source(api_type: &str) -> Value {
    json!({
        "resource_api_version": "V3",
        "initial_fetch_timeout": "0s",
        "api_config_source": {
            "api_type": api_type,
            "transport_api_version": "V3",
            "grpc_services": [{ "envoy_grpc": { "cluster_name": "sds" } }],
        },
    })
}

/// A listener on a port of its own that echoes whatever comes over TLS. Its certificate is `secret`, from
/// `source`.
pub fn echo_listener(name: &str, secret: &str, source: &Value) -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "name": name,
        "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } },
        "filter_chains": [{
            "filters": [{
                "name": "envoy.filters.network.echo",
                "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo" },
            }],
            "transport_socket": {
                "name": "envoy.transport_sockets.tls",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                    "common_tls_context": {
                        "tls_certificate_sds_secret_configs": [{ "name": secret, "sds_config": source }],
                    },
                },
            },
        }],
    })
}
