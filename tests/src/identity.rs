//! Where identities come from: the same story is told on either source.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::{DevAgent, FetchedSvid, Launch, Spire, Stage, Workload};

/// The kinds of source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// `examples/dev-agent`.
    DevAgent,
    /// SPIRE's server and agent.
    Spire,
}

/// A running source.
#[derive(Debug)]
pub enum IdentitySource {
    /// `examples/dev-agent`.
    DevAgent(Box<DevAgent>),
    /// SPIRE's server and agent.
    Spire(Box<Spire>),
}

impl IdentitySource {
    /// Starts a source that knows every workload. `svid_ttl` in seconds.
    pub async fn start(stage: &Stage, kind: SourceKind, svid_ttl: u32) -> Result<Self> {
        Ok(match kind {
            SourceKind::DevAgent => {
                Self::DevAgent(Box::new(DevAgent::start(stage, svid_ttl).await?))
            }
            SourceKind::Spire => Self::Spire(Box::new(Spire::start(stage, svid_ttl).await?)),
        })
    }

    /// The Workload API for one workload.
    pub fn socket(&self, workload: Workload) -> PathBuf {
        match self {
            Self::DevAgent(agent) => agent.socket(workload),
            Self::Spire(spire) => spire.socket(),
        }
    }

    /// The program by this name that the source takes for the workload.
    pub fn program(&self, stage: &Stage, workload: Workload, name: &str) -> Result<PathBuf> {
        match self {
            Self::DevAgent(_) => stage.within_reach(&stage.programs.own(name)?),
            Self::Spire(_) => Ok(Spire::program(stage, workload, name)),
        }
    }

    /// True if the source reads `/proc/PID/exe` of its workloads without being root.
    pub fn needs_dumpable_workloads(&self, stage: &Stage) -> bool {
        matches!(self, Self::Spire(_)) && stage.accounts.harness.uid != 0
    }

    /// A workload's SVID, as the source issues it now.
    pub fn fetch(&self, stage: &Stage, workload: Workload) -> Result<FetchedSvid> {
        let program = self.program(stage, workload, "fetch-svid")?;
        let launch = Launch::new("fetch-svid", program, &stage.accounts.mesh);
        FetchedSvid::read(&launch.arg(self.socket(workload)).output()?)
    }

    /// The keys of SPIRE's CAs, as its server names them; nothing where the source is another.
    pub fn authorities(&self, stage: &Stage) -> Result<Option<Vec<String>>> {
        match self {
            Self::DevAgent(_) => Ok(None),
            Self::Spire(spire) => spire.authorities(stage).map(Some),
        }
    }

    /// Makes all SVIDs new, where the source can be told to; SPIRE renews at half of their life.
    pub fn rotate(&self, stage: &Stage) -> Result<()> {
        match self {
            Self::DevAgent(agent) => agent.control(stage, &["rotate"]).map(drop),
            Self::Spire(_) => Ok(()),
        }
    }

    /// Ends the agent without a warning.
    pub fn kill_agent(&mut self) -> Result<()> {
        match self {
            Self::DevAgent(agent) => agent.kill(),
            Self::Spire(spire) => spire.kill_agent(),
        }
    }

    /// Starts the agent again after [`IdentitySource::kill_agent`].
    pub async fn restart_agent(&mut self, stage: &Stage) -> Result<()> {
        match self {
            Self::DevAgent(agent) => agent.restart(stage).await,
            Self::Spire(spire) => spire.restart_agent(stage).await,
        }
    }

    /// The dev-agent, for the faults that only it can produce.
    pub fn dev_agent(&self) -> Result<&DevAgent> {
        match self {
            Self::DevAgent(agent) => Ok(agent),
            Self::Spire(_) => bail!("SPIRE forges nothing: this needs dev-agent"),
        }
    }
}
