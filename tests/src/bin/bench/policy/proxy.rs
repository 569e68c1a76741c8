//! The Envoy under test: one worker, mTLS in, a Unix socket out, and the filters of one case between.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use e2e::{Launch, PATIENCE, Process, Stage, http::Ask, until};
use serde_json::{Value, json};

/// PEM files of an SVID, as dev-agent's `mint` leaves them.
#[derive(Clone, Debug)]
pub(super) struct Minted(pub(super) PathBuf);

impl Minted {
    pub(super) fn chain(&self) -> PathBuf {
        self.0.join("svid.pem")
    }

    pub(super) fn key(&self) -> PathBuf {
        self.0.join("svid_key.pem")
    }

    fn bundle(&self) -> PathBuf {
        self.0.join("svid_bundle.pem")
    }
}

/// A running Envoy.
#[derive(Debug)]
pub(super) struct Proxy {
    process: Process,
    directory: PathBuf,
    address: SocketAddr,
    wasm: Option<WasmStart>,
}

/// How long Envoy's Wasm VM took to start, by Envoy's own log.
#[derive(Clone, Copy, Debug)]
pub(super) struct WasmStart {
    /// From the first VM's creation to the second's: reading and compiling the module.
    pub(super) compiled: Duration,
    /// The median of the VMs' `proxy_on_configure`: reading the policy.
    pub(super) configured: Duration,
}

impl Proxy {
    /// Starts an Envoy with these HTTP filters before its router, and waits until it is ready.
    pub(super) async fn start(
        stage: &Stage,
        name: &str,
        filters: &[Value],
        server: &Minted,
        upstream: &Path,
    ) -> Result<Self> {
        let directory = stage.directory(name, &stage.accounts.mesh)?;
        let address = SocketAddr::from((stage.address, stage.free_port()?));
        let admin = directory.join("admin.sock");
        let bootstrap = directory.join("envoy.json");
        fs::write(&bootstrap, configured(filters, address, &admin, server, upstream).to_string())?;
        let program = stage.within_reach(&stage.programs.envoy()?)?;
        let mut process = Launch::new(name, program, &stage.accounts.mesh)
            .arg("--config-path")
            .arg(&bootstrap)
            .args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"])
            // Only until it is ready; the log then tells how long the VM took.
            .args(["--component-log-level", "wasm:trace", "--log-format", "%E %f %v"])
            .start(stage)?;
        until("Envoy's /ready", PATIENCE, async || {
            process.alive()?;
            let reply = Ask::get("/ready").unix(&admin).await?;
            if reply.status != 200 {
                bail!("{} {}", reply.status, reply.body.trim());
            }
            Ok(())
        })
        .await?;
        let hushed = Ask::new("POST", "/logging?wasm=warning").unix(&admin).await?;
        if hushed.status != 200 {
            bail!("Envoy goes on logging: {} {}", hushed.status, hushed.body.trim());
        }
        let wasm = WasmStart::read(&process.stderr());
        Ok(Self { process, directory, address, wasm })
    }

    /// Where it waits for mTLS.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How long its VM took, if it has one.
    pub(super) fn wasm(&self) -> Option<WasmStart> {
        self.wasm
    }

    /// The process' number.
    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Ends it, and takes its bootstrap away, which is large where the rules are many.
    pub(super) fn end(self) -> Result<()> {
        drop(self.process);
        fs::remove_dir_all(&self.directory)
            .with_context(|| format!("cannot remove {}", self.directory.display()))
    }

    /// The linear memory of its largest Wasm VM in bytes; 0 without one.
    pub(super) fn vm_memory(&self) -> Result<u64> {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.id()))
            .context("cannot read Envoy's memory map")?;
        Ok(largest_linear_memory(&maps))
    }
}

impl WasmStart {
    fn read(log: &str) -> Option<Self> {
        let lines: Vec<(Duration, &str)> = log.lines().filter_map(stamped).collect();
        let first = |words: &str| lines.iter().find(|(_, line)| line.contains(words));
        let (created, _) = first("Base Wasm created")?;
        let (cloned, _) = first("Thread-Local Wasm created")?;
        let times = |words: &str| -> Vec<Duration> {
            let spoken = lines.iter().filter(|(_, line)| line.contains(words));
            spoken.map(|(at, _)| *at).collect()
        };
        let begun = times("[host->vm] proxy_on_configure(");
        let ended = times("[host<-vm] proxy_on_configure return");
        let mut spent: Vec<Duration> =
            ended.iter().zip(&begun).map(|(end, begin)| end.saturating_sub(*begin)).collect();
        spent.sort_unstable();
        // A module that does not export the callback takes no time for it.
        let configured = spent.get(spent.len() / 2).copied().unwrap_or_default();
        Some(Self { compiled: cloned.saturating_sub(*created), configured })
    }
}

/// A line of the log: seconds and microseconds, then what is said.
fn stamped(line: &str) -> Option<(Duration, &str)> {
    let mut parts = line.splitn(3, ' ');
    let (seconds, micros) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some((Duration::from_secs(seconds) + Duration::from_micros(micros), parts.next()?))
}

/// V8 puts a guard of 8 GiB behind each linear memory, which no other mapping has.
fn largest_linear_memory(maps: &str) -> u64 {
    const GUARD: u64 = 4 << 30;
    let mapping = |line: &str| -> Option<(u64, u64, bool)> {
        let mut words = line.split(' ');
        let (begin, end) = words.next()?.split_once('-')?;
        let bound = |digits| u64::from_str_radix(digits, 16).ok();
        Some((bound(begin)?, bound(end)?, words.next()?.starts_with("rw")))
    };
    let mappings: Vec<_> = maps.lines().filter_map(mapping).collect();
    let pairs = mappings.windows(2).filter_map(|pair| match pair {
        [(begin, end, true), (guard, guarded, false)]
            if end == guard && guarded - guard >= GUARD =>
        {
            Some(end - begin)
        }
        _ => None,
    });
    pairs.max().unwrap_or(0)
}

/// As `envoy/api-proxy.yaml`, but with certificates from files, and without access log and second
/// wall: whatever else costs CPU would flatter the filters' ratios.
fn configured(
    filters: &[Value],
    address: SocketAddr,
    admin: &Path,
    server: &Minted,
    upstream: &Path,
) -> Value {
    let mut chain = filters.to_vec();
    chain.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
    }));
    json!({
        "admin": { "address": { "pipe": { "path": admin, "mode": 0o600 } } },
        "static_resources": {
            "listeners": [{
                "name": "ingress",
                "address": socket_address(address),
                "per_connection_buffer_limit_bytes": 32768,
                "filter_chains": [{
                    "transport_socket": mutual_tls(server),
                    "filters": [peer_to_filter_state(), connection_manager(&chain)],
                }],
            }],
            "clusters": [{
                "name": "api",
                "type": "STATIC",
                "connect_timeout": "1s",
                "load_assignment": {
                    "cluster_name": "api",
                    "endpoints": [{ "lb_endpoints": [{
                        "endpoint": { "address": { "pipe": { "path": upstream } } },
                    }] }],
                },
            }],
        },
    })
}

fn socket_address(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip(), "port_value": address.port() } })
}

fn mutual_tls(server: &Minted) -> Value {
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "require_client_certificate": true,
            "disable_stateless_session_resumption": true,
            "disable_stateful_session_resumption": true,
            "common_tls_context": {
                "tls_params": { "tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3" },
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_certificates": [{
                    "certificate_chain": { "filename": server.chain() },
                    "private_key": { "filename": server.key() },
                }],
                "validation_context": { "trusted_ca": { "filename": server.bundle() } },
            },
        },
    })
}

fn peer_to_filter_state() -> Value {
    json!({
        "name": "envoy.filters.network.set_filter_state",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.set_filter_state.v3.Config",
            "on_downstream_tls_handshake": [{
                "object_key": "signet.peer",
                "factory_key": "envoy.string",
                "format_string": { "text_format_source": {
                    "inline_string": "%DOWNSTREAM_PEER_CERT_V_END(%s)%|%DOWNSTREAM_PEER_URI_SAN%",
                } },
            }],
        },
    })
}

fn connection_manager(filters: &[Value]) -> Value {
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "ingress",
            "normalize_path": false,
            "merge_slashes": false,
            "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
            "common_http_protocol_options": { "headers_with_underscores_action": "REJECT_REQUEST" },
            "use_remote_address": true,
            "forward_client_cert_details": "SANITIZE",
            "request_headers_timeout": "10s",
            "stream_idle_timeout": "300s",
            "route_config": {
                "name": "ingress",
                "virtual_hosts": [{
                    "name": "api",
                    "domains": ["*"],
                    "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "api" } }],
                }],
            },
            "http_filters": filters,
        },
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{WasmStart, largest_linear_memory};

    #[test]
    fn the_log_tells_how_long_the_vm_took() {
        let log = "\
10 900000 Base Wasm created 1 now active
11 020000 Thread-Local Wasm created 2 now active
11 020100 [host->vm] proxy_on_configure(1, 140)
11 020400 [host<-vm] proxy_on_configure return: 1
something else
11 030000 [host->vm] proxy_on_configure(1, 140)
11 030500 [host<-vm] proxy_on_configure return: 1
";
        let start = WasmStart::read(log).unwrap();
        assert_eq!(start.compiled, Duration::from_millis(120));
        assert_eq!(start.configured, Duration::from_micros(500));
        assert!(WasmStart::read("10 0 all is well").is_none());
    }

    #[test]
    fn a_linear_memory_lies_before_its_guard() {
        let maps = "\
100000000-100120000 rw-p 00000000 00:00 0
100120000-300000000 ---p 00000000 00:00 0
400000000-400200000 rw-p 00000000 00:00 0
400200000-600000000 ---p 00000000 00:00 0
700000000-780000000 rw-p 00000000 00:00 0 [heap]
";
        assert_eq!(largest_linear_memory(maps), 0x20_0000);
        assert_eq!(largest_linear_memory(""), 0);
    }
}
