//! A mesh, and pools at work in it.

use std::{collections::BTreeSet, net::SocketAddr};

use anyhow::{Result, ensure};
use e2e::{
    Mesh, MeshPlan, PATIENCE, PostgresVersion, SourceKind, Stage, Workload, bootstrap::holders,
    until,
};
use serde_json::{Value, json};

use crate::{
    READER,
    pool::{Kind, Moment, Pool, Since},
};

/// Whose sidecar the pools are behind.
const OWNER: Workload = Workload::Report;

const SESSIONS: &str = "pg_stat_activity where usename like 'customers_%'";

/// A policy that lets the owner be this role, on these terms.
pub(crate) fn policy(login_role: &str, terms: &str) -> String {
    format!(
        "version: 1
trust_domain: example.org
session_grace: 1s
workloads:
  report: /ns/report-ns/sa/report
  db: /ns/postgres-ns/sa/customer-db
postgres:
  - {{ name: pools, from: [report], to: [db], databases: [customers], login_role: {login_role}{terms} }}
"
    )
}

pub(crate) struct Scene {
    pub(crate) mesh: Mesh,
    pools: Vec<Pool>,
}

/// Backends that the pools were connected to, and how much each pool had asked then.
pub(crate) struct Connected {
    backends: BTreeSet<i32>,
    moments: Vec<Moment>,
}

/// What each pool did since.
type Report = Vec<(Kind, Since)>;

impl Scene {
    /// Starts everything and waits until all pools are at work. `svid_ttl` in seconds.
    pub(crate) async fn set(svid_ttl: u32, terms: &str) -> Result<Self> {
        let stage = Stage::set(None)?;
        let address = SocketAddr::from((stage.address, stage.free_port()?));
        let mesh = MeshPlan::new(SourceKind::DevAgent, PostgresVersion::V18)
            .svid_ttl(svid_ttl)
            .policy(policy(READER, terms))
            .mutate(OWNER, move |bootstrap| on_loopback(bootstrap, address))
            .start_on(stage)
            .await?;
        let pools = Pool::all(&mesh, address, "anybody")?;
        let mut scene = Self { mesh, pools };
        let nobody = Connected { backends: BTreeSet::new(), moments: scene.moments()? };
        scene.recover(nobody, READER).await?;
        Ok(scene)
    }

    fn moments(&mut self) -> Result<Vec<Moment>> {
        self.pools.iter_mut().map(Pool::now).collect()
    }

    /// What they are connected to now, in this role and past all ends of the past.
    pub(crate) async fn connected(&mut self, role: &str) -> Result<Connected> {
        let nobody = Connected { backends: BTreeSet::new(), moments: self.moments()? };
        self.recover(nobody, role).await?;
        let pids = format!("select pid from {SESSIONS}");
        let printed = self.mesh.postgres.sql(&self.mesh.stage, "postgres", &pids)?;
        let backends: Result<_, _> = printed.lines().map(str::parse).collect();
        Ok(Connected { backends: backends?, moments: self.moments()? })
    }

    /// Waits until each pool works again, in this role and on none of the connections that it had.
    pub(crate) async fn recover(&mut self, had: Connected, role: &str) -> Result<Report> {
        let mut report = Report::new();
        for (pool, moment) in self.pools.iter_mut().zip(had.moments) {
            report.push((pool.kind, pool.recovers(moment, role, &had.backends).await?));
        }
        Ok(report)
    }

    /// The same where the database was out of reach for a while, and requests failed as long as it was.
    pub(crate) async fn recovers_from(&mut self, reason: &str, had: Connected) {
        for (pool, since) in self.recover(had, READER).await.unwrap() {
            println!("{reason}: {}: {since}", pool.name());
        }
    }

    /// Waits until each pool has used that many connections.
    pub(crate) async fn outlives(&mut self, backends: usize) -> Result<Report> {
        let mut report = Report::new();
        let moments = self.moments()?;
        for (pool, moment) in self.pools.iter_mut().zip(moments) {
            until("sessions end", 2 * PATIENCE, async || {
                let used = pool.since(moment)?.backends.len();
                ensure!(used >= backends, "{} used {used} connections", pool.kind.name());
                Ok(())
            })
            .await?;
            report.push((pool.kind, pool.recovers(moment, READER, &BTreeSet::new()).await?));
        }
        Ok(report)
    }

    /// Waits until all sessions have outlived these seconds.
    pub(crate) async fn all_last(&self, seconds: u32) -> Result<()> {
        let young = format!(
            "select count(*) from {SESSIONS} and backend_start > now() - interval '{seconds} s'"
        );
        until("sessions last", PATIENCE, async || {
            let found = self.mesh.postgres.sql(&self.mesh.stage, "postgres", &young)?;
            ensure!(found == "0", "{found} sessions are new");
            Ok(())
        })
        .await
    }

    /// Waits until no session is left, and each pool has failed since.
    pub(crate) async fn all_fail(&mut self, had: &Connected) -> Result<()> {
        until("all sessions end", 2 * PATIENCE, async || {
            let count = format!("select count(*) from {SESSIONS}");
            let open = self.mesh.postgres.sql(&self.mesh.stage, "postgres", &count)?;
            ensure!(open == "0", "{open} sessions are open");
            for (pool, moment) in self.pools.iter_mut().zip(&had.moments) {
                ensure!(
                    !pool.since(*moment)?.errors.is_empty(),
                    "{} knows nothing",
                    pool.kind.name()
                );
            }
            Ok(())
        })
        .await
    }

    /// Ends every session in Postgres.
    pub(crate) fn terminate_all(&self) -> Result<()> {
        let sql = format!("select pg_terminate_backend(pid) from {SESSIONS}");
        self.mesh.postgres.sql(&self.mesh.stage, "postgres", &sql).map(drop)
    }
}

/// What the comment of `client-proxy.yaml` says to do inside a pod: JDBC knows no Unix sockets.
fn on_loopback(bootstrap: &mut Value, address: SocketAddr) {
    let (host, port) = (address.ip().to_string(), address.port());
    holders(bootstrap, "listeners", &mut |resources| {
        for listener in resources["listeners"].as_array_mut().into_iter().flatten() {
            if listener["name"] == "egress_postgres" {
                listener["address"] =
                    json!({ "socket_address": { "address": host, "port_value": port } });
            }
        }
    });
}
