//! Tells readiness to programs that wait for it: gRPC health on the SDS listeners, and systemd.

use std::time::Duration;

use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::admin::{Health, Readiness};
use crate::systemd::{Started, Systemd};

/// Services of the gRPC health protocol, each with the guards that it follows. The empty name is the
/// whole server.
const SERVICES: [(&str, &[&str]); 4] = [
    ("", &["identity", "broker", "policy", "stop"]),
    ("envoy.service.secret.v3.SecretDiscoveryService", &["identity", "broker", "stop"]),
    (
        "envoy.service.extension.v3.ExtensionConfigDiscoveryService",
        &["identity", "broker", "policy", "stop"],
    ),
    (
        "envoy.service.discovery.v3.AggregatedDiscoveryService",
        &["identity", "broker", "policy", "stop"],
    ),
];
/// How often nothing is told although nothing changed; a watchdog may want it more often.
const IDLE: Duration = Duration::from_mins(1);

/// The one task that tells.
#[derive(Debug)]
pub struct Herald {
    health: Health,
    grpc: HealthReporter,
    systemd: Systemd,
    /// Whether each service serves, as was told last: watchers hear of changes only.
    serving: [bool; SERVICES.len()],
}

impl Herald {
    /// A herald of `health`, which notes in `started` that systemd was told of the first readiness. The gRPC services are not serving from now on until it runs.
    pub async fn new(health: Health, grpc: HealthReporter, started: Started) -> Self {
        for (service, _) in SERVICES {
            grpc.set_service_status(service, ServingStatus::NotServing).await;
        }
        Self { health, grpc, systemd: Systemd::new(started), serving: [false; SERVICES.len()] }
    }

    /// Works until the server stops, and tells that as the last thing.
    pub async fn run(mut self) {
        loop {
            // Asked once: a stop that comes while this round is told is told by the next.
            let stopping = self.health.stop.is_cancelled();
            let readiness = self.health.readiness();
            self.tell(&readiness, stopping).await;
            if stopping {
                return self.end_watches().await;
            }
            let patience = Systemd::watchdog().unwrap_or(IDLE);
            let _ = tokio::time::timeout(patience, self.health.changed()).await;
        }
    }

    async fn tell(&mut self, readiness: &Readiness, stopping: bool) {
        for ((service, guards), told) in SERVICES.iter().zip(&mut self.serving) {
            let serving = guards.iter().all(|guard| readiness.passes(guard));
            if std::mem::replace(told, serving) == serving {
                continue;
            }
            let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
            self.grpc.set_service_status(service, status).await;
        }
        self.systemd.tell(readiness, stopping);
    }

    /// Who watches would otherwise keep the server from ending.
    async fn end_watches(&mut self) {
        for (service, _) in SERVICES {
            self.grpc.clear_service_status(service).await;
        }
    }
}
