//! Where things are in one run, and the bootstraps that say so to each Envoy.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::{Bootstrap, Postgres, Programs, SdsServer, Stage, TRUST_DOMAIN, Workload};

/// What the Envoys of one run must know of each other.
#[derive(Debug)]
pub(crate) struct Site {
    address: Ipv4Addr,
    api_port: u16,
    db_port: u16,
    postgres: PathBuf,
    max_connection_duration: u32,
}

/// The ports of an Envoy for those who watch it.
#[derive(Clone, Copy, Debug)]
pub struct Ops {
    /// The listener `metrics`.
    pub metrics: u16,
    /// The listener `probes`.
    pub probes: u16,
}

impl Ops {
    pub(crate) fn choose(stage: &Stage) -> Result<Self> {
        Ok(Self { metrics: stage.free_port()?, probes: stage.free_port()? })
    }
}

impl Site {
    /// Chooses the ports.
    pub(crate) fn choose(
        stage: &Stage,
        postgres: &Postgres,
        max_connection_duration: u32,
    ) -> Result<Self> {
        Ok(Self {
            address: stage.address,
            api_port: stage.free_port()?,
            db_port: stage.free_port()?,
            postgres: postgres.socket(),
            max_connection_duration,
        })
    }

    /// Where a workload's Envoy waits for mTLS; port 0 for those that nobody calls.
    pub(crate) fn ingress(&self, workload: Workload) -> SocketAddr {
        let port = match workload {
            Workload::Api => self.api_port,
            Workload::Db => self.db_port,
            Workload::Client | Workload::Report => 0,
        };
        (self.address, port).into()
    }

    /// The file of `envoy/` for a workload, filled in. `directory` holds the sidecar's sockets.
    pub(crate) fn bootstrap(
        &self,
        programs: &Programs,
        workload: Workload,
        directory: &Path,
        ops: Ops,
    ) -> Result<Bootstrap> {
        let file = match workload {
            Workload::Client | Workload::Report => "client-proxy",
            Workload::Api => "api-proxy",
            Workload::Db => "db-proxy",
        };
        Ok(Bootstrap::read(programs, file)?
            .with("NODE_ID", workload.name())
            .with("RUN_DIR", directory.display())
            .with("SDS_SOCKET", SdsServer::socket(directory).display())
            .with("TRUST_DOMAIN", TRUST_DOMAIN)
            .with("API_SPIFFE_ID", Workload::Api.spiffe_id())
            .with("API_HOST", self.address)
            .with("API_PORT", self.api_port)
            .with("API_SOCKET", directory.join("api.sock").display())
            .with("DB_SPIFFE_ID", Workload::Db.spiffe_id())
            .with("DB_HOST", self.address)
            .with("DB_PORT", self.db_port)
            .with("INGRESS_HOST", self.address)
            .with("INGRESS_PORT", self.ingress(workload).port())
            .with("POSTGRES_SOCKET", self.postgres.display())
            .with("MAX_CONNECTION_DURATION", format!("{}s", self.max_connection_duration))
            .with("OPS_HOST", self.address)
            .with("METRICS_PORT", ops.metrics)
            .with("PROBES_PORT", ops.probes))
    }
}
