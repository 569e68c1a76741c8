//! The in-memory SPIFFE authority of `examples/dev-agent`, and its fault injector.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{FetchedSvid, Launch, PATIENCE, Process, Stage, TRUST_DOMAIN, Workload, until};

/// A running dev-agent.
#[derive(Debug)]
pub struct DevAgent {
    process: Option<Process>,
    directory: PathBuf,
}

impl DevAgent {
    /// Starts it with a socket per workload. `svid_ttl` in seconds.
    pub async fn start(stage: &Stage, svid_ttl: u32) -> Result<Self> {
        Self::start_with(stage, svid_ttl, &[]).await
    }

    /// The same, with leaves that an intermediate CA signs.
    pub async fn start_with_intermediate(stage: &Stage, svid_ttl: u32) -> Result<Self> {
        Self::serve(stage, svid_ttl, &["--intermediate".to_owned()]).await
    }

    /// The same, with more identities for some of the workloads.
    pub async fn start_with(
        stage: &Stage,
        svid_ttl: u32,
        more: &[(Workload, String)],
    ) -> Result<Self> {
        let more = more.iter().map(|(workload, id)| format!("--workload={}={id}", workload.name()));
        Self::serve(stage, svid_ttl, &more.collect::<Vec<_>>()).await
    }

    async fn serve(stage: &Stage, svid_ttl: u32, more: &[String]) -> Result<Self> {
        let account = &stage.accounts.mesh;
        let directory = stage.directory("agent", account)?;
        let program = stage.within_reach(&stage.programs.own("dev-agent")?)?;
        let mut launch = Launch::new("dev-agent", program, account)
            .arg("serve")
            .arg("--directory")
            .arg(&directory)
            .args(["--trust-domain", TRUST_DOMAIN])
            .arg(format!("--svid-ttl={svid_ttl}s"))
            .arg(format!("--jwt-ttl={svid_ttl}s"));
        for workload in Workload::ALL {
            launch = launch.arg(format!("--workload={}={}", workload.name(), workload.path()));
        }
        let mut agent = Self { process: Some(launch.args(more).start(stage)?), directory };
        agent.answers(stage).await?;
        Ok(agent)
    }

    /// The Workload API of one workload.
    pub fn socket(&self, workload: Workload) -> PathBuf {
        self.directory.join(format!("{}.sock", workload.name()))
    }

    /// Gives a control command, e.g. `["rotate"]`, and returns the agent's state afterwards.
    pub fn control(&self, stage: &Stage, command: &[&str]) -> Result<Value> {
        let program = stage.within_reach(&stage.programs.own("dev-agent")?)?;
        let printed = Launch::new("dev-agent ctl", program, &stage.accounts.mesh)
            .args(["ctl", "--directory"])
            .arg(&self.directory)
            .args(command)
            .output()?;
        serde_json::from_str(&printed).context("dev-agent printed no JSON")
    }

    /// An SVID with something wrong, as the agent's `mint` names it, and that nobody serves.
    pub fn mint(&self, stage: &Stage, workload: Workload, fault: &[&str]) -> Result<FetchedSvid> {
        let out = self.directory.join("minted").join(fault.join("-").replace('/', "_"));
        let out_text = out.to_string_lossy();
        let mut command = vec!["mint", "--workload", workload.name(), "--out", &out_text];
        command.extend(fault);
        self.control(stage, &command)?;
        FetchedSvid::from_pem(&out.join("svid.pem"), &out.join("svid_key.pem"))
    }

    /// Ends it without a warning.
    pub fn kill(&mut self) -> Result<()> {
        self.process.as_mut().context("dev-agent is not running")?.kill()
    }

    /// Starts it again. Its CA is a new one, for it lives in memory.
    pub async fn restart(&mut self, stage: &Stage) -> Result<()> {
        let ended = self.process.take().context("dev-agent was never started")?;
        self.process = Some(ended.restart(stage)?);
        self.answers(stage).await
    }

    async fn answers(&mut self, stage: &Stage) -> Result<()> {
        until("dev-agent answers", PATIENCE, async || {
            self.process.as_mut().context("dev-agent is not running")?.alive()?;
            self.control(stage, &["status"]).map(drop)
        })
        .await
    }

    /// The directory of its sockets.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}
