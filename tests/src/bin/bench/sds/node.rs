//! The node that a real Envoy sends with every request: recorded, not invented.
//!
//! A stub listens where Envoy expects SDS and keeps the first request; nobody answers.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use e2e::{Launch, PATIENCE, Stage};
use prost::Message;
use serde_json::{Value, json};
use tokio::net::UnixListener;

use super::wire::{NodeOnly, unframe};

/// Less than this is no node of an Envoy that can do anything. Unit: bytes.
const LEAST: usize = 30 * 1024;

/// A node as the field of a request that it is, kept in `cache` for each version of Envoy.
pub(super) async fn recorded(stage: &Stage, cache: &Path, version: &str) -> Result<Bytes> {
    let path = cache.join(format!("envoy-{version}-node.bin"));
    let known = fs::read(&path).ok().filter(|known| known.len() >= LEAST);
    if let Some(known) = known {
        return Ok(known.into());
    }
    let request = first_request(stage).await.context("Envoy's node cannot be recorded")?;
    let node = NodeOnly::decode(request).context("Envoy's request is no DiscoveryRequest")?;
    let node = Bytes::from(node.encode_to_vec());
    ensure!(node.len() >= LEAST, "Envoy's node has only {} bytes", node.len());
    fs::create_dir_all(cache)
        .and_then(|()| fs::write(&path, &node))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(node)
}

/// A small node for requests without Envoy's.
pub(super) fn bare() -> Bytes {
    // id = "bench", cluster = "bench", as fields 1 and 2.
    let node = Bytes::from_static(b"\x0a\x05bench\x12\x05bench");
    NodeOnly { node: Some(node) }.encode_to_vec().into()
}

async fn first_request(stage: &Stage) -> Result<Bytes> {
    let directory = stage.directory("node", &stage.accounts.mesh)?;
    let socket = directory.join("sds.sock");
    let listener = UnixListener::bind(&socket)
        .with_context(|| format!("cannot listen on {}", socket.display()))?;
    stage.accounts.mesh.own(&socket)?;
    let bootstrap = write_bootstrap(&directory, &socket)?;
    let program = stage.within_reach(&stage.programs.envoy()?)?;
    let mut envoy = Launch::new("recorded-envoy", program, &stage.accounts.mesh)
        .arg("--config-path")
        .arg(bootstrap)
        .args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"])
        .start(stage)?;
    let heard = tokio::time::timeout(PATIENCE, hear(&listener)).await;
    envoy.alive()?;
    match heard {
        Ok(request) => request,
        Err(_) => bail!("it sent none within {} s", PATIENCE.as_secs()),
    }
}

async fn hear(listener: &UnixListener) -> Result<Bytes> {
    let (stream, _) = listener.accept().await?;
    // Its node is larger than the 64 KiB that HTTP/2 allows without asking.
    let mut server = h2::server::Builder::new();
    server.initial_window_size(1 << 20).initial_connection_window_size(1 << 20);
    let mut connection = server.handshake::<_, Bytes>(stream).await?;
    let (request, _response) = connection.accept().await.context("Envoy hung up")??;
    let mut body = request.into_body();
    // The connection must be driven while its streams are read.
    let driving = tokio::spawn(async move { while connection.accept().await.is_some() {} });
    let mut arrived = BytesMut::new();
    let message = loop {
        if let Some(message) = unframe(&mut arrived) {
            break message;
        }
        arrived.extend_from_slice(&body.data().await.context("the request broke off")??);
    };
    driving.abort();
    Ok(message)
}

fn write_bootstrap(directory: &Path, socket: &Path) -> Result<PathBuf> {
    let path = directory.join("envoy.json");
    fs::write(&path, configured(&directory.join("admin.sock"), socket).to_string())?;
    Ok(path)
}

/// An Envoy that needs one secret, for a cluster to which nothing is ever sent.
fn configured(admin: &Path, socket: &Path) -> Value {
    let sds = json!({
        "resource_api_version": "V3",
        "api_config_source": {
            "api_type": "GRPC",
            "transport_api_version": "V3",
            "grpc_services": [{ "envoy_grpc": { "cluster_name": "sds" } }],
        },
    });
    let endpoint =
        |address: Value| json!([{ "lb_endpoints": [{ "endpoint": { "address": address } }] }]);
    json!({
        "node": { "id": "bench", "cluster": "bench" },
        "admin": { "address": { "pipe": { "path": admin, "mode": 0o600 } } },
        "static_resources": { "clusters": [
            {
                "name": "sds",
                "type": "STATIC",
                "connect_timeout": "1s",
                "typed_extension_protocol_options": {
                    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                        "explicit_http_config": { "http2_protocol_options": {} },
                    },
                },
                "load_assignment": {
                    "cluster_name": "sds",
                    "endpoints": endpoint(json!({ "pipe": { "path": socket } })),
                },
            },
            {
                "name": "nowhere",
                "type": "STATIC",
                "transport_socket": {
                    "name": "envoy.transport_sockets.tls",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                        "common_tls_context": {
                            "tls_certificate_sds_secret_configs": [{ "name": "default", "sds_config": sds }],
                        },
                    },
                },
                "load_assignment": {
                    "cluster_name": "nowhere",
                    "endpoints": endpoint(json!({ "pipe": { "path": "/nowhere" } })),
                },
            },
        ] },
    })
}
