//! Settings of Envoy that could make the hop cheaper, each alone against the bootstraps as they are.

use std::net::SocketAddr;

use e2e::bootstrap::holders;
use serde_json::{Value, json};

/// One change to both bootstraps, or to how both Envoys are started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    /// `--concurrency 1` instead of a worker per core.
    OneWorker,
    /// `per_connection_buffer_limit_bytes` of 16 KiB instead of 32 KiB.
    SmallBuffers,
    /// … of 1 MiB.
    LargeBuffers,
    /// Loopback TCP between the client and its Envoy instead of a Unix socket.
    Loopback,
    /// Keys by P-256 alone, instead of Envoy's default `X25519MLKEM768`.
    ClassicKeys,
    /// `exact_balance` of connections among the workers.
    Balanced,
    /// No access logs.
    Unlogged,
}

impl Setting {
    pub(super) const ALL: [Self; 7] = [
        Self::OneWorker,
        Self::SmallBuffers,
        Self::LargeBuffers,
        Self::Loopback,
        Self::ClassicKeys,
        Self::Balanced,
        Self::Unlogged,
    ];

    /// For files and JSON.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::OneWorker => "pg-role-one-worker",
            Self::SmallBuffers => "pg-role-16-kib",
            Self::LargeBuffers => "pg-role-1-mib",
            Self::Loopback => "pg-role-loopback",
            Self::ClassicKeys => "pg-role-p-256",
            Self::Balanced => "pg-role-balanced",
            Self::Unlogged => "pg-role-unlogged",
        }
    }

    /// For people.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::OneWorker => "… with one worker each",
            Self::SmallBuffers => "… with buffers of 16 KiB",
            Self::LargeBuffers => "… with buffers of 1 MiB",
            Self::Loopback => "… from loopback TCP",
            Self::ClassicKeys => "… with keys by P-256",
            Self::Balanced => "… with balanced workers",
            Self::Unlogged => "… without access logs",
        }
    }

    /// What is set, in Envoy's words.
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::OneWorker => "`--concurrency 1` instead of a worker per core",
            Self::SmallBuffers => "`per_connection_buffer_limit_bytes` of 16 KiB instead of 32 KiB",
            Self::LargeBuffers => "… of 1 MiB",
            Self::Loopback => "loopback TCP instead of a Unix socket between client and Envoy",
            Self::ClassicKeys => "`ecdh_curves: [P-256]` instead of X25519MLKEM768, the default",
            Self::Balanced => "`connection_balance_config: exact_balance`",
            Self::Unlogged => "no access logs",
        }
    }

    /// What the bootstraps do about it, and why.
    pub(super) fn verdict(self) -> &'static str {
        match self {
            Self::OneWorker => {
                "a flag of the command line, for who has few connections or few cores to give"
            }
            Self::SmallBuffers | Self::LargeBuffers => {
                "no: 32 KiB bound what a peer can make Envoy hold"
            }
            Self::Loopback => "no: a socket's permissions say who may use it",
            Self::ClassicKeys => {
                "no: the default keeps recorded traffic safe from quantum computers"
            }
            Self::Balanced => "no: it takes a lock for each connection",
            Self::Unlogged => "no: they are the audit",
        }
    }

    /// How many workers each Envoy gets; none is one per core.
    pub(super) fn workers(self) -> Option<u32> {
        (self == Self::OneWorker).then_some(1)
    }

    /// Changes a bootstrap, the caller's or the database's. `front` is where clients are awaited by TCP, where they are.
    pub(super) fn apply(self, configuration: &mut Value, front: SocketAddr) {
        match self {
            Self::OneWorker => {}
            Self::SmallBuffers => limit_buffers(configuration, 16 << 10),
            Self::LargeBuffers => limit_buffers(configuration, 1 << 20),
            Self::Loopback => on_listener(configuration, "egress_postgres", |listener| {
                let (address, port) = (front.ip().to_string(), front.port());
                listener["address"] =
                    json!({ "socket_address": { "address": address, "port_value": port } });
            }),
            Self::ClassicKeys => holders(configuration, "tls_params", &mut |context| {
                context["tls_params"]["ecdh_curves"] = json!(["P-256"]);
            }),
            Self::Balanced => {
                for listener in ["egress_postgres", "ingress"] {
                    on_listener(configuration, listener, |listener| {
                        listener["connection_balance_config"] = json!({ "exact_balance": {} });
                    });
                }
            }
            Self::Unlogged => holders(configuration, "access_log", &mut |logging| {
                logging["access_log"] = json!([]);
            }),
        }
    }
}

fn limit_buffers(configuration: &mut Value, bytes: u32) {
    const LIMIT: &str = "per_connection_buffer_limit_bytes";
    holders(configuration, LIMIT, &mut |holder| holder[LIMIT] = bytes.into());
}

fn on_listener(configuration: &mut Value, name: &str, change: impl Fn(&mut Value)) {
    let listeners = configuration["static_resources"]["listeners"].as_array_mut();
    listeners.into_iter().flatten().filter(|listener| listener["name"] == name).for_each(change);
}
