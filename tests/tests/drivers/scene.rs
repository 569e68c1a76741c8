//! A mesh, and three ways into its database: the caller's sidecar by Unix socket and on loopback, and
//! straight to the database's Envoy with an SVID in the driver's own hands.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf};

use anyhow::Result;
use e2e::{Mesh, MeshPlan, PostgresVersion, SourceKind, Stage, Workload, bootstrap::holders};
use serde_json::{Value, json};

/// May be `customers_writer`, under whatever name it comes.
const GUEST: Workload = Workload::Report;

/// Has no rule.
const STRANGER: Workload = Workload::Client;

const POLICY: &str = "
version: 1
trust_domain: example.org
workloads:
  report: /ns/report-ns/sa/report
  db: /ns/postgres-ns/sa/customer-db
postgres:
  - { name: drivers, from: [report], to: [db], databases: [customers], login_role: customers_writer }
";

const TABLE: &str = "create table driver_rows (run text, n int);
                     grant select, insert on driver_rows to customers_writer";

/// Long enough for all drivers: what they fetched once, they show at each connection. In seconds.
const SVID_TTL: u32 = 3_600;

/// How a driver comes to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// The caller's own sidecar, by a Unix socket.
    Socket,
    /// The caller's own sidecar, on loopback.
    Loopback,
    /// The database's Envoy.
    DirectTls,
}

impl Way {
    pub(crate) const ALL: [Self; 3] = [Self::Socket, Self::Loopback, Self::DirectTls];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Loopback => "loopback",
            Self::DirectTls => "direct TLS",
        }
    }

    /// For the page.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Socket => "Through the client's Envoy, by its Unix socket",
            Self::Loopback => "Through the client's Envoy, on loopback",
            Self::DirectTls => "Direct TLS with an SVID",
        }
    }
}

/// Who a driver is, and what it believes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guise {
    /// May come in.
    Guest,
    /// May not.
    Stranger,
    /// May, and looks for another server than it will find.
    Misled,
}

/// A running mesh with a table for the drivers.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) mesh: Mesh,
    ports: BTreeMap<Workload, u16>,
    svids: PathBuf,
}

impl Scene {
    pub(crate) async fn set(version: PostgresVersion) -> Result<Self> {
        let stage = Stage::set(None)?;
        let mut ports = BTreeMap::new();
        let mut plan =
            MeshPlan::new(SourceKind::DevAgent, version).svid_ttl(SVID_TTL).policy(POLICY);
        for workload in [GUEST, STRANGER] {
            let (host, port) = (stage.address.to_string(), stage.free_port()?);
            ports.insert(workload, port);
            plan = plan.mutate(workload, move |bootstrap| on_loopback(bootstrap, &host, port));
        }
        let mesh = plan.start_on(stage).await?;
        mesh.postgres.sql(&mesh.stage, "customers", TABLE)?;
        let svids = mesh.stage.directory("svids", &mesh.stage.accounts.harness)?;
        for workload in [GUEST, STRANGER] {
            mesh.source.fetch(&mesh.stage, workload)?.write(&svids.join(workload.name()))?;
        }
        Ok(Self { mesh, ports, svids })
    }

    /// What a driver is told of a way.
    pub(crate) fn environment(&self, way: Way, guise: Guise) -> Vec<(&'static str, OsString)> {
        let (caller, server) = match guise {
            Guise::Guest => (GUEST, Workload::Db),
            Guise::Stranger => (STRANGER, Workload::Db),
            Guise::Misled => (GUEST, Workload::Api),
        };
        let svid = self.svids.join(caller.name());
        let address = self.mesh.stage.address.to_string();
        let (host, port): (OsString, u16) = match way {
            Way::Socket => (self.mesh.sidecar(caller).directory.clone().into(), 5432),
            Way::Loopback => (address.into(), self.ports[&caller]),
            Way::DirectTls => (address.into(), self.mesh.ingress(Workload::Db).port()),
        };
        let mut environment = vec![
            ("PGHOST", host),
            ("PGPORT", port.to_string().into()),
            ("PGUSER", "anybody".into()),
            ("PGDATABASE", "customers".into()),
        ];
        if way == Way::DirectTls {
            environment.extend([
                ("PGSSLNEGOTIATION", "direct".into()),
                ("PGSSLMODE", "verify-ca".into()),
                ("PGSSLROOTCERT", svid.join("svid_bundle.pem").into()),
                ("PGSSLCERT", svid.join("svid.pem").into()),
                ("PGSSLKEY", svid.join("svid_key.pem").into()),
                ("SERVER_SPIFFE_ID", server.spiffe_id().into()),
            ]);
        }
        environment
    }
}

/// What the comment of `client-proxy.yaml` says to do inside a pod, beside the Unix socket.
fn on_loopback(bootstrap: &mut Value, host: &str, port: u16) {
    holders(bootstrap, "listeners", &mut |resources| {
        let Some(listeners) = resources["listeners"].as_array_mut() else { return };
        let found = listeners.iter().find(|listener| listener["name"] == "egress_postgres");
        let mut listener = found.cloned().unwrap_or_default();
        listener["name"] = "egress_postgres_loopback".into();
        listener["address"] = json!({ "socket_address": { "address": host, "port_value": port } });
        listeners.push(listener);
    });
}
