//! Two Envoys with mutual TLS between them, whose secrets come over SDS from whatever stands behind
//! a socket: the bootstraps of `tests/bootstraps/`.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, ensure};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::{
    Bootstrap, Envoy, PATIENCE, Stage, TRUST_DOMAIN, Workload,
    fetched::Leaf,
    http::{Ask, Reply},
    tls::{TlsCaller, presented_by},
    until,
};

/// A change to an Envoy's configuration; it is told which end it changes.
type Mutation = Box<dyn Fn(Workload, &mut Value) + Send + Sync>;

/// The ends: the API answers, the client asks.
const ENDS: [Workload; 2] = [Workload::Api, Workload::Client];

/// What to put up.
pub struct PairPlan {
    name: String,
    sds: [PathBuf; 2],
    programs: Option<[PathBuf; 2]>,
    trust_domains: [String; 2],
    mutations: Vec<Mutation>,
}

impl PairPlan {
    /// The SDS of the answering Envoy and that of the asking one.
    pub fn new(name: &str, server_sds: &Path, client_sds: &Path) -> Self {
        Self {
            name: name.to_owned(),
            sds: [server_sds, client_sds].map(Path::to_path_buf),
            programs: None,
            trust_domains: [TRUST_DOMAIN, TRUST_DOMAIN].map(str::to_owned),
            mutations: Vec::new(),
        }
    }

    /// Programs of their own for both, by which SPIRE tells them apart.
    #[must_use]
    pub fn programs(mut self, server: &Path, client: &Path) -> Self {
        self.programs = Some([server, client].map(Path::to_path_buf));
        self
    }

    /// The trust domains of the answering Envoy and of the asking one.
    #[must_use]
    pub fn trust_domains(mut self, server: &str, client: &str) -> Self {
        self.trust_domains = [server, client].map(str::to_owned);
        self
    }

    /// Changes the bootstraps.
    #[must_use]
    pub fn mutate(mut self, change: impl Fn(Workload, &mut Value) + Send + Sync + 'static) -> Self {
        self.mutations.push(Box::new(change));
        self
    }

    /// Starts both and waits until they have their secrets.
    pub async fn start(self, stage: &Stage) -> Result<Pair> {
        let mut pair = self.start_unready(stage)?;
        pair.ready().await?;
        Ok(pair)
    }

    /// Starts both.
    pub fn start_unready(self, stage: &Stage) -> Result<Pair> {
        let port = stage.free_port()?;
        let ids: Vec<String> = ENDS
            .iter()
            .zip(&self.trust_domains)
            .map(|(end, domain)| format!("spiffe://{domain}{}", end.path()))
            .collect();
        let start = |end: usize, file: &str| -> Result<(Envoy, PathBuf)> {
            let workload = ENDS[end];
            let name = format!("{}-{}", self.name, workload.name());
            let directory = stage.directory(&name, &stage.accounts.mesh)?;
            fs::write(directory.join("listeners.yaml"), "resources: []\n")?;
            let path = format!("tests/bootstraps/{file}.yaml");
            let mut bootstrap = Bootstrap::read_file(&stage.programs, &path)?
                .with("NODE_ID", &name)
                .with("RUN_DIR", directory.display())
                .with("SDS_SOCKET", self.sds[end].display())
                .with("HOST", stage.address)
                .with("PORT", port)
                .with("SERVER_ID", &ids[0])
                .with("CLIENT_ID", &ids[1])
                .with("TRUST_DOMAIN_ID", format!("spiffe://{}", self.trust_domains[end]));
            for change in &self.mutations {
                bootstrap = bootstrap.mutate(|configuration| change(workload, configuration))?;
            }
            let program = match &self.programs {
                Some(programs) => programs[end].clone(),
                None => stage.within_reach(&stage.programs.envoy()?)?,
            };
            Ok((Envoy::start_as(stage, &name, &program, &bootstrap, &directory)?, directory))
        };
        let (server, server_directory) = start(0, "mtls-server")?;
        let (client, client_directory) = start(1, "mtls-client")?;
        let address = (stage.address, port).into();
        Ok(Pair { server, client, address, server_directory, client_directory })
    }
}

/// Both Envoys, running.
#[derive(Debug)]
pub struct Pair {
    /// The one that answers.
    pub server: Envoy,
    /// The one that asks.
    pub client: Envoy,
    /// Where the server waits for mTLS.
    pub address: SocketAddr,
    server_directory: PathBuf,
    client_directory: PathBuf,
}

impl Pair {
    /// Waits until both have their secrets.
    pub async fn ready(&mut self) -> Result<()> {
        self.server.ready().await?;
        self.client.ready().await
    }

    /// One request through both, and so one handshake, by the secrets of one chain: `default`,
    /// `own-id` or `all`.
    pub async fn ask(&self, chain: &str) -> Result<Reply> {
        Ask::get("/").unix(&self.client_directory.join(format!("{chain}.sock"))).await
    }

    /// Waits until a request is answered with this status.
    pub async fn answers(&self, chain: &str, status: u16) -> Result<()> {
        until(&format!("{chain} answers {status}"), PATIENCE, async || {
            let reply = self.ask(chain).await?;
            ensure!(reply.status == status, "{} {}", reply.status, reply.body);
            Ok(())
        })
        .await
    }

    /// The certificate that the server shows.
    pub async fn presented(&self) -> Result<Leaf> {
        presented_by(self.address).await
    }

    /// The same to a caller that names the server (SNI).
    pub async fn presented_to(&self, server: &str) -> Result<Leaf> {
        Ok(TlsCaller::new(None, "h2")?.connect_to(self.address, server).await?.server)
    }

    /// Waits until the server shows another certificate than that, and returns it.
    pub async fn presents_another(&self, than: &Leaf) -> Result<Leaf> {
        until("the server presents a new certificate", PATIENCE, async || {
            let leaf = self.presented().await?;
            ensure!(leaf.serial != than.serial, "still {}", leaf.serial);
            Ok(leaf)
        })
        .await
    }

    /// The serial number of the certificate that the client shows.
    pub async fn client_serial(&self) -> Result<String> {
        let seen = self.server.access_log().len();
        ensure!(self.ask("default").await?.status == 200, "the client is refused");
        let line = self.server.logged(seen, |line| line["serial"].is_string()).await?;
        Ok(line["serial"].as_str().unwrap_or_default().to_owned())
    }

    /// Gives the server listeners beside its own, as a file of LDS in JSON.
    pub fn listeners(&self, resources: &Value) -> Result<()> {
        let draft = self.server_directory.join("listeners.draft");
        fs::write(&draft, serde_json::json!({ "resources": resources }).to_string())?;
        fs::rename(&draft, self.server_directory.join("listeners.yaml"))?;
        Ok(())
    }

    /// Asks and asks in the background, each time with a new handshake.
    pub fn knock(&self) -> Knocking {
        Knocking::start(self.client_directory.join("default.sock"))
    }
}

/// Requests in the background.
#[derive(Debug)]
pub struct Knocking {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    callers: JoinSet<Vec<String>>,
}

impl Knocking {
    fn start(socket: PathBuf) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut callers = JoinSet::new();
        callers.spawn(knock(socket, stop.clone(), done.clone()));
        Self { stop, done, callers }
    }

    /// Waits until this many more requests have ended, well or not.
    pub async fn goes_on(&self, requests: usize) -> Result<()> {
        let wanted = self.done.load(Ordering::Relaxed) + requests;
        until("the load goes on", PATIENCE, async || {
            let done = self.done.load(Ordering::Relaxed);
            ensure!(done >= wanted, "{done} of {wanted} requests");
            Ok(())
        })
        .await
    }

    /// Ends it; what went wrong, each in one line.
    pub async fn stop(mut self) -> Result<Vec<String>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut failures = Vec::new();
        while let Some(found) = self.callers.join_next().await {
            failures.extend(found?);
        }
        ensure!(self.done.load(Ordering::Relaxed) > 0, "nothing was asked");
        Ok(failures)
    }
}

async fn knock(socket: PathBuf, stop: Arc<AtomicBool>, done: Arc<AtomicUsize>) -> Vec<String> {
    let mut failures = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        match Ask::get("/").unix(&socket).await {
            Ok(reply) if reply.status == 200 => {}
            Ok(reply) => failures.push(format!("{} {}", reply.status, reply.body)),
            Err(error) => failures.push(format!("{error:#}")),
        }
        done.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    failures
}
