//! Two Envoys with mutual TLS between them: the repository's own bootstraps, with other filters in the database's where a
//! case wants it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use e2e::{
    Bootstrap, DevAgent, IdentitySource, Launch, PATIENCE, PolicyFile, Process, SdsServer, Stage,
    TRUST_DOMAIN, Workload, bootstrap::holders, http::Ask, until,
};
use serde_json::{Value, json};

use super::{
    cases::Filter,
    database::{BENCH, Database},
    module::Step,
    settings::Setting,
};

/// The life of the SVIDs in seconds: longer than any run.
const SVID_TTL: u32 = 24 * 3600;
/// Whose sidecar `pgbench` speaks to. It has one rule, and one role.
const CALLER: Workload = Workload::Report;

/// What all pairs share: identities, the policy, and an sds-server for either end.
#[derive(Debug)]
pub(super) struct Ground {
    _source: IdentitySource,
    _servers: [SdsServer; 2],
    /// Of the caller's and the database's server.
    directories: [PathBuf; 2],
    postgres: PathBuf,
    /// Of the modules that decide nothing.
    modules: PathBuf,
}

/// A running pair.
#[derive(Debug)]
pub(super) struct Envoys {
    /// The caller's and the database's.
    pub(super) ends: [Process; 2],
    /// Where the caller's listens: the directory of its Unix socket, which libpq takes for a host, or an address.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Ground {
    /// Starts what all pairs share.
    pub(super) async fn lay(stage: &Stage, database: &Database) -> Result<Self> {
        let source = IdentitySource::DevAgent(Box::new(DevAgent::start(stage, SVID_TTL).await?));
        let policy = PolicyFile::demo(stage)?;
        policy.write(&format!(
            "version: 1
trust_domain: {TRUST_DOMAIN}
workloads:
  caller: {}
  db: {}
postgres:
  - name: caller-measures
    from: [caller]
    to: [db]
    databases: [{BENCH}]
    login_role: {BENCH}
",
            CALLER.path(),
            Workload::Db.path(),
        ))?;
        let start = |workload: Workload| {
            let name = format!("{}-sds", workload.name());
            let directory = stage.directory(&name, &stage.accounts.mesh)?;
            let name = workload.name();
            let server =
                SdsServer::start(stage, &source, name, workload, policy.path(), &directory)?;
            anyhow::Ok((server, directory))
        };
        let (mut caller, caller_directory) = start(CALLER)?;
        let (mut db, db_directory) = start(Workload::Db)?;
        caller.ready().await?;
        db.ready().await?;
        let modules = stage.directory("modules", &stage.accounts.mesh)?;
        for step in Step::ALL {
            std::fs::write(modules.join(format!("{}.wasm", step.key())), step.module()?)?;
        }
        Ok(Self {
            _source: source,
            _servers: [caller, db],
            directories: [caller_directory, db_directory],
            postgres: database.socket(),
            modules,
        })
    }

    /// Starts a pair by this name, with this filter, as shipped but for one setting, and waits until it is ready.
    pub(super) async fn pair(
        &self,
        stage: &Stage,
        name: &str,
        filter: Filter,
        setting: Option<Setting>,
    ) -> Result<Envoys> {
        let workers = setting.and_then(Setting::workers);
        let front = SocketAddr::from((stage.address, stage.free_port()?));
        let mut changed = workers.is_some();
        let mut tune = |configuration: &mut Value| {
            let before = configuration.clone();
            setting.inspect(|setting| setting.apply(configuration, front));
            changed |= *configuration != before;
        };
        let ingress = SocketAddr::from((stage.address, stage.free_port()?));
        let [caller_server, db_server] = &self.directories;
        let modules = &self.modules;
        let directory = |end: &str| stage.directory(&format!("{name}-{end}"), &stage.accounts.mesh);
        let (host, behind) = (directory("caller")?, directory("db")?);
        let caller = self.filled_in(stage, "client-proxy", caller_server, &host, ingress)?;
        let caller = caller.mutate(&mut tune)?;
        let db = self
            .filled_in(stage, "db-proxy", db_server, &behind, ingress)?
            .mutate(|configuration| replace_filter(configuration, filter, modules))?
            .mutate(&mut tune)?;
        if setting.is_some() && !changed {
            bail!("the bootstraps have nothing that {setting:?} would change");
        }
        let mut db = start(stage, &format!("{name}-db"), &db, &behind, workers)?;
        let mut caller = start(stage, &format!("{name}-caller"), &caller, &host, workers)?;
        ready(&mut db, &behind).await?;
        ready(&mut caller, &host).await?;
        let ends = [caller, db];
        Ok(match setting {
            Some(Setting::Loopback) => {
                Envoys { ends, host: front.ip().to_string(), port: front.port() }
            }
            // The bootstrap names its socket as Postgres would.
            _ => Envoys { ends, host: host.display().to_string(), port: 5432 },
        })
    }

    fn filled_in(
        &self,
        stage: &Stage,
        file: &str,
        server: &Path,
        directory: &Path,
        ingress: SocketAddr,
    ) -> Result<Bootstrap> {
        Ok(Bootstrap::read(&stage.programs, file)?
            .with("RUN_DIR", directory.display())
            .with("NODE_ID", file)
            .with("SDS_SOCKET", SdsServer::socket(server).display())
            .with("TRUST_DOMAIN", TRUST_DOMAIN)
            .with("API_SPIFFE_ID", Workload::Api.spiffe_id())
            .with("API_HOST", stage.address)
            // Nothing is there, and nobody asks for it.
            .with("API_PORT", stage.free_port()?)
            .with("DB_SPIFFE_ID", Workload::Db.spiffe_id())
            .with("DB_HOST", ingress.ip())
            .with("DB_PORT", ingress.port())
            .with("INGRESS_HOST", ingress.ip())
            .with("INGRESS_PORT", ingress.port())
            .with("POSTGRES_SOCKET", self.postgres.display())
            .with("MAX_CONNECTION_DURATION", "600s")
            .with("OPS_HOST", stage.address)
            .with("METRICS_PORT", stage.free_port()?)
            .with("PROBES_PORT", stage.free_port()?))
    }
}

/// An Envoy with the defaults of its command line: its own log at `info`, so that our filter's lines are written.
fn start(
    stage: &Stage,
    name: &str,
    bootstrap: &Bootstrap,
    directory: &Path,
    workers: Option<u32>,
) -> Result<Process> {
    let program = stage.within_reach(&stage.programs.envoy()?)?;
    let workers = workers.map(|workers| ["--concurrency".to_owned(), workers.to_string()]);
    Launch::new(name, program, &stage.accounts.mesh)
        .arg("--config-path")
        .arg(bootstrap.write(directory)?)
        .arg("--disable-hot-restart")
        .args(workers.into_iter().flatten())
        .start(stage)
}

async fn ready(envoy: &mut Process, directory: &Path) -> Result<()> {
    until("Envoy's /ready", PATIENCE, async || {
        envoy.alive()?;
        let reply = Ask::get("/ready").unix(&directory.join("admin.sock")).await?;
        if reply.status != 200 {
            bail!("{} {}", reply.status, reply.body.trim());
        }
        Ok(())
    })
    .await
}

/// Puts another filter, or none, in the place of ours, and opens the way that only ours would open.
fn replace_filter(configuration: &mut Value, filter: Filter, modules: &Path) {
    let other = match filter {
        Filter::PgRole => return,
        Filter::None => None,
        Filter::Wasm(step) => Some(wasm(&modules.join(format!("{}.wasm", step.key())))),
    };
    holders(configuration, "filters", &mut |chain| {
        let Some(filters) = chain["filters"].as_array_mut() else { return };
        let Some(ours) = filters.iter().position(|filter| filter["name"] == "signet.postgres")
        else {
            return;
        };
        filters.splice(ours..=ours, other.clone());
        for filter in filters {
            if filter["typed_config"]["cluster"] == "deny" {
                filter["typed_config"]["cluster"] = "postgres".into();
            }
        }
    });
}

/// As sds-server configures ours.
fn wasm(module: &Path) -> Value {
    json!({
        "name": "envoy.filters.network.wasm",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm",
            "config": {
                "name": "bench",
                "failure_policy": "FAIL_RELOAD",
                "vm_config": {
                    "vm_id": "bench",
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": { "local": { "filename": module } },
                },
            },
        },
    })
}
