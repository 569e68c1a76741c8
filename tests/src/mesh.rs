//! The whole flow, put up from the repository's own files:
//!
//! ```text
//! client, report ─▶ client-proxy ══mTLS══▶ api-proxy ─▶ API ─▶ api-proxy ══mTLS══▶ db-proxy ─▶ Postgres
//! ```

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{
    Api, Envoy, IdentitySource, PolicyFile, Postgres, PostgresVersion, SdsServer, SourceKind,
    Stage, Workload,
    site::{Ops, Site},
};

/// A change to one Envoy's configuration.
type Mutation = Box<dyn FnOnce(&mut Value) + Send>;

/// What to put up, and what to do wrong.
pub struct MeshPlan {
    source: SourceKind,
    postgres: PostgresVersion,
    svid_ttl: u32,
    max_connection_duration: u32,
    logs: Option<PathBuf>,
    mutations: Vec<(Workload, Mutation)>,
    identities: BTreeMap<Workload, Workload>,
    policy: Option<String>,
    api_options: Vec<String>,
    narrate: fn(&str),
}

impl MeshPlan {
    /// Everything as it should be, with SVIDs that live for a minute.
    pub fn new(source: SourceKind, postgres: PostgresVersion) -> Self {
        Self {
            source,
            postgres,
            svid_ttl: 60,
            max_connection_duration: 60,
            logs: None,
            mutations: Vec::new(),
            identities: BTreeMap::new(),
            policy: None,
            api_options: Vec::new(),
            narrate: |_| {},
        }
    }

    /// The life of an SVID in seconds. Default 60.
    #[must_use]
    pub fn svid_ttl(mut self, seconds: u32) -> Self {
        self.svid_ttl = seconds;
        self
    }

    /// The age in seconds at which a pooled connection is replaced. Default 60.
    #[must_use]
    pub fn max_connection_duration(mut self, seconds: u32) -> Self {
        self.max_connection_duration = seconds;
        self
    }

    /// Keeps the logs in this directory.
    #[must_use]
    pub fn logs(mut self, directory: Option<PathBuf>) -> Self {
        self.logs = directory;
        self
    }

    /// Is told each step.
    #[must_use]
    pub fn narrated_by(mut self, narrate: fn(&str)) -> Self {
        self.narrate = narrate;
        self
    }

    /// Takes a wall out: changes the configuration of this workload's Envoy.
    #[must_use]
    pub fn mutate(
        mut self,
        workload: Workload,
        change: impl FnOnce(&mut Value) + Send + 'static,
    ) -> Self {
        self.mutations.push((workload, Box::new(change)));
        self
    }

    /// Gives the sidecar of `place` the identity of `holder`.
    #[must_use]
    pub fn certificate_of(mut self, place: Workload, holder: Workload) -> Self {
        self.identities.insert(place, holder);
        self
    }

    /// Starts with another policy than the demo's.
    #[must_use]
    pub fn policy(mut self, text: impl Into<String>) -> Self {
        self.policy = Some(text.into());
        self
    }

    /// Starts the API with this option.
    #[must_use]
    pub fn api_option(mut self, option: impl Into<String>) -> Self {
        self.api_options.push(option.into());
        self
    }

    /// Puts it up and waits until all of it is ready.
    pub async fn start(self) -> Result<Mesh> {
        let stage = Stage::set(self.logs.clone())?;
        self.start_on(stage).await
    }

    /// The same on a stage that is already set, with something on it.
    pub async fn start_on(self, stage: Stage) -> Result<Mesh> {
        let mut mesh = self.start_unready(stage).await?;
        mesh.ready().await?;
        Ok(mesh)
    }

    /// Puts it up; only the identity source and Postgres are awaited.
    pub async fn start_unready(mut self, stage: Stage) -> Result<Mesh> {
        let policy = PolicyFile::demo(&stage)?;
        if let Some(text) = &self.policy {
            policy.write(text)?;
        }
        (self.narrate)("identity source, and Postgres with the roles of `signet policy sql`");
        let (source, postgres) = tokio::join!(
            IdentitySource::start(&stage, self.source, self.svid_ttl),
            Postgres::start(&stage, self.postgres)
        );
        let (source, postgres) = (source?, postgres?);
        (self.narrate)("one sds-server and one Envoy per workload, and the API");
        let site = Site::choose(&stage, &postgres, self.max_connection_duration)?;
        let mut sidecars = BTreeMap::new();
        for workload in Workload::ALL {
            let directory = stage.directory(workload.name(), &stage.accounts.mesh)?;
            let holder = self.identities.get(&workload).copied().unwrap_or(workload);
            let server = SdsServer::start(
                &stage,
                &source,
                workload.name(),
                holder,
                policy.path(),
                &directory,
            )?;
            let ops = Ops::choose(&stage)?;
            let mut bootstrap = site.bootstrap(&stage.programs, workload, &directory, ops)?;
            for (_, change) in self.mutations.extract_if(.., |(mutated, _)| *mutated == workload) {
                bootstrap = bootstrap.mutate(change)?;
            }
            let name = format!("{}-envoy", workload.name());
            let envoy = Envoy::start(&stage, &name, &bootstrap, &directory)?;
            sidecars.insert(workload, Sidecar { envoy, server, ops, directory });
        }
        let api = Api::start(&stage, &sidecars[&Workload::Api].directory, &self.api_options)?;
        Ok(Mesh { sidecars, api, postgres, source, policy, site, stage })
    }
}

/// What stands beside a workload.
#[derive(Debug)]
pub struct Sidecar {
    /// Its Envoy.
    pub envoy: Envoy,
    /// Its sds-server.
    pub server: SdsServer,
    /// Where its Envoy answers those who watch it.
    pub ops: Ops,
    /// The directory of their sockets; a Postgres driver takes it for a host.
    pub directory: PathBuf,
}

/// The whole flow, running. Its parts end in the order in which they stand here.
#[derive(Debug)]
pub struct Mesh {
    sidecars: BTreeMap<Workload, Sidecar>,
    /// The API.
    pub api: Api,
    /// The database.
    pub postgres: Postgres,
    /// Where identities come from.
    pub source: IdentitySource,
    /// The policy that all servers watch.
    pub policy: PolicyFile,
    site: Site,
    /// Directory, addresses and accounts.
    pub stage: Stage,
}

impl Mesh {
    /// Waits until all of it is ready.
    pub async fn ready(&mut self) -> Result<()> {
        for (workload, sidecar) in &mut self.sidecars {
            let whose = || format!("{}'s sidecar", workload.name());
            sidecar.server.ready().await.with_context(whose)?;
            sidecar.envoy.ready().await.with_context(whose)?;
        }
        self.api.ready().await
    }

    /// Waits until the client's Envoy is ready, which needs no policy.
    pub async fn client_ready(&mut self) -> Result<()> {
        self.sidecar_mut(Workload::Client).0.envoy.ready().await
    }

    /// What stands beside a workload.
    pub fn sidecar(&self, workload: Workload) -> &Sidecar {
        &self.sidecars[&workload]
    }

    /// The same, to stop and start its parts.
    pub fn sidecar_mut(&mut self, workload: Workload) -> (&mut Sidecar, &Stage) {
        let sidecar = self.sidecars.get_mut(&workload);
        (sidecar.unwrap_or_else(|| unreachable!("every workload has a sidecar")), &self.stage)
    }

    /// The Unix socket on which a caller's sidecar takes HTTP for the API.
    pub fn http_socket(&self, caller: Workload) -> PathBuf {
        self.sidecar(caller).directory.join("http.sock")
    }

    /// Where a workload's Envoy waits for mTLS.
    pub fn ingress(&self, workload: Workload) -> SocketAddr {
        self.site.ingress(workload)
    }

    /// Starts one more Envoy in front of the database, with the database's identity, and says where
    /// it waits for mTLS.
    pub async fn second_database_proxy(&self) -> Result<(Envoy, SocketAddr)> {
        let name = "second-db";
        let directory = self.stage.directory(name, &self.stage.accounts.mesh)?;
        let first = &self.sidecar(Workload::Db).directory;
        let (programs, ops) = (&self.stage.programs, Ops::choose(&self.stage)?);
        let port = self.stage.free_port()?;
        let file = self.site.bootstrap(programs, Workload::Db, &directory, ops)?;
        let file =
            file.with("SDS_SOCKET", SdsServer::socket(first).display()).with("INGRESS_PORT", port);
        let mut envoy = Envoy::start(&self.stage, name, &file, &directory)?;
        envoy.ready().await?;
        Ok((envoy, (self.stage.address, port).into()))
    }

    /// Starts one more Envoy for the client, with the client's identity, that is sent elsewhere: it
    /// looks for the API and the database at `upstream`.
    pub async fn misled_client(
        &self,
        name: &str,
        upstream: SocketAddr,
        change: impl FnOnce(&mut Value),
    ) -> Result<(Envoy, PathBuf)> {
        let directory = self.stage.directory(name, &self.stage.accounts.mesh)?;
        let client = &self.sidecar(Workload::Client).directory;
        let (programs, ops) = (&self.stage.programs, Ops::choose(&self.stage)?);
        let file = self.site.bootstrap(programs, Workload::Client, &directory, ops)?;
        let file = file
            .with("SDS_SOCKET", SdsServer::socket(client).display())
            .with("API_HOST", upstream.ip())
            .with("API_PORT", upstream.port())
            .with("DB_HOST", upstream.ip())
            .with("DB_PORT", upstream.port())
            .mutate(change)?;
        let mut envoy = Envoy::start(&self.stage, name, &file, &directory)?;
        envoy.ready().await?;
        Ok((envoy, directory))
    }
}
