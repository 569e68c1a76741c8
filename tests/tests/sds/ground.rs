//! What most scenarios stand on: dev-agent, and a server of ours for each end.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use e2e::{DevAgent, PATIENCE, PairPlan, SdsServer, Stage, Workload, until};

/// Both servers and their agent. Declared before the Envoys, they end after them.
#[derive(Debug)]
pub(crate) struct Ground {
    /// The answering end's.
    pub(crate) server: SdsServer,
    /// The asking end's.
    pub(crate) client: SdsServer,
    pub(crate) agent: DevAgent,
    pub(crate) stage: Stage,
}

impl Ground {
    /// SVIDs live so many seconds; `addition` is more of the servers' configuration.
    pub(crate) async fn lay(svid_ttl: u32, addition: &str) -> Result<Self> {
        let stage = Stage::set(None)?;
        let agent = DevAgent::start(&stage, svid_ttl).await?;
        Self::of(stage, agent, addition)
    }

    /// The same with an agent that is there already.
    pub(crate) fn of(stage: Stage, agent: DevAgent, addition: &str) -> Result<Self> {
        let server = serve(&stage, &agent, Workload::Api, addition)?;
        let client = serve(&stage, &agent, Workload::Client, addition)?;
        Ok(Self { server, client, agent, stage })
    }

    /// A pair of Envoys that ask both.
    pub(crate) fn plan(&self) -> PairPlan {
        let [server, client] = [&self.server, &self.client].map(socket_of);
        PairPlan::new("pair", &server, &client)
    }

    /// What the answering end's Envoy was told so far.
    pub(crate) async fn told(&self) -> Told {
        let metric = async |name: &str| self.server.metric(name).await.unwrap_or_default();
        let refused = metric("signet_xds_nacks_total").await;
        Told { pushed: metric("signet_xds_pushes_total").await, refused }
    }

    /// What it was told since, once that is all, and answered.
    pub(crate) async fn told_all(&self, before: Told, is_all: impl Fn(Told) -> bool) -> Told {
        until("Envoy has answered", PATIENCE, async || {
            // What is pushed is counted last: nothing can be answered that is not.
            let accepted = self.server.metric("signet_xds_acks_total").await?;
            let now = self.told().await;
            let answered = accepted + now.refused;
            let more =
                Told { pushed: now.pushed - before.pushed, refused: now.refused - before.refused };
            ensure!(is_all(more) && answered >= now.pushed, "{more:?}, {answered} answers");
            Ok(more)
        })
        .await
        .unwrap()
    }

    /// Makes the SVIDs of the answering end new.
    pub(crate) fn rotate(&self) -> Result<()> {
        let command = ["rotate", "--workload", Workload::Api.name()];
        self.agent.control(&self.stage, &command).map(drop)
    }
}

/// Secrets that were sent to an Envoy, and how many of them it refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) pushed: f64,
    pub(crate) refused: f64,
}

/// A server of ours with the identity that dev-agent gives a workload.
pub(crate) fn serve(
    stage: &Stage,
    agent: &DevAgent,
    workload: Workload,
    addition: &str,
) -> Result<SdsServer> {
    let program = stage.within_reach(&stage.programs.own("sds-server")?)?;
    SdsServer::of_secrets(stage, workload.name(), &program, &agent.socket(workload), addition)
}

/// Where a server's Envoys ask.
pub(crate) fn socket_of(server: &SdsServer) -> PathBuf {
    SdsServer::socket(server.directory())
}

/// Where the server of a workload will be asked once it runs.
pub(crate) fn socket_to_be(stage: &Stage, workload: Workload) -> PathBuf {
    SdsServer::socket(&Path::new(stage.path()).join(format!("{}-sds", workload.name())))
}
