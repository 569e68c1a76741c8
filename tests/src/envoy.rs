//! A real Envoy, run from a bootstrap of `envoy/`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{Account, Bootstrap, Launch, PATIENCE, Process, Stage, http::Ask, until};

/// An Envoy and the directory of its sockets.
#[derive(Debug)]
pub struct Envoy {
    process: Option<Process>,
    directory: PathBuf,
}

impl Envoy {
    /// Starts an Envoy whose sockets lie in `directory`; it is not awaited.
    pub fn start(
        stage: &Stage,
        name: &str,
        bootstrap: &Bootstrap,
        directory: &Path,
    ) -> Result<Self> {
        let program = stage.within_reach(&stage.programs.envoy()?)?;
        Self::start_as(stage, name, &program, bootstrap, directory)
    }

    /// The same from a program of its own, by which SPIRE can tell it from others.
    pub fn start_as(
        stage: &Stage,
        name: &str,
        program: &Path,
        bootstrap: &Bootstrap,
        directory: &Path,
    ) -> Result<Self> {
        Self::start_by(stage, name, program, &stage.accounts.mesh, bootstrap, directory)
    }

    /// The same by another user, by whom SPIRE can tell it from others.
    pub fn start_by(
        stage: &Stage,
        name: &str,
        program: &Path,
        account: &Account,
        bootstrap: &Bootstrap,
        directory: &Path,
    ) -> Result<Self> {
        let configuration = bootstrap.write(directory)?;
        let process = Launch::new(name, program, account)
            .arg("--config-path")
            .arg(configuration)
            .args(["--disable-hot-restart", "--concurrency", "2"])
            .args(["--log-level", "warning", "--component-log-level", "config:info,wasm:info"])
            .args(["--file-flush-interval-msec", "50"])
            .start(stage)?;
        Ok(Self { process: Some(process), directory: directory.to_path_buf() })
    }

    /// Asks Envoy whether it accepts a bootstrap; the error is Envoy's own.
    pub fn validate(
        stage: &Stage,
        name: &str,
        bootstrap: &Bootstrap,
        directory: &Path,
    ) -> Result<()> {
        let program = stage.within_reach(&stage.programs.envoy()?)?;
        Launch::new(name, program, &stage.accounts.mesh)
            .args(["--mode", "validate", "--disable-hot-restart", "--log-level", "warning"])
            .arg("--config-path")
            .arg(bootstrap.write(directory)?)
            .output()?;
        Ok(())
    }

    /// Waits until it is ready: all secrets and filters are there.
    pub async fn ready(&mut self) -> Result<()> {
        let admin = self.admin_socket();
        let process = &mut self.process;
        until("Envoy's /ready", PATIENCE, async || {
            process.as_mut().context("Envoy is not running")?.alive()?;
            let reply = Ask::get("/ready").unix(&admin).await?;
            if reply.status != 200 {
                bail!("{} {}", reply.status, reply.body.trim());
            }
            Ok(())
        })
        .await
    }

    /// A page of the admin interface.
    pub async fn admin(&self, page: &str) -> Result<String> {
        Ok(Ask::get(page).unix(&self.admin_socket()).await?.body)
    }

    /// A counter or gauge by its whole name; one that does not exist yet is 0.
    pub async fn stat(&self, name: &str) -> Result<u64> {
        let pattern = name.replace('.', "\\.");
        let page = self.admin(&format!("/stats?format=json&filter=^{pattern}$")).await?;
        let page: Value = serde_json::from_str(&page).context("Envoy's /stats is not JSON")?;
        Ok(page["stats"][0]["value"].as_u64().unwrap_or(0))
    }

    /// The sum of all counters and gauges whose names end so.
    pub async fn stat_sum(&self, ending: &str) -> Result<u64> {
        let pattern = ending.replace('.', "\\.");
        let page = self.admin(&format!("/stats?format=json&filter={pattern}$")).await?;
        let page: Value = serde_json::from_str(&page).context("Envoy's /stats is not JSON")?;
        let found = page["stats"].as_array().into_iter().flatten();
        Ok(found.filter_map(|stat| stat["value"].as_u64()).sum())
    }

    /// Its resident memory, in KiB.
    pub fn resident_memory(&self) -> Result<u64> {
        let process = self.process.as_ref().context("Envoy is not running")?;
        let file = format!("/proc/{}/status", process.id());
        let status = std::fs::read_to_string(&file).with_context(|| format!("no {file}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.context("no VmRSS")?.parse()?)
    }

    /// Every access log line so far.
    pub fn access_log(&self) -> Vec<Value> {
        let text = self.process.as_ref().map(Process::stdout).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits for an access log line, among those after the first `seen`, that is as wanted.
    pub async fn logged(&self, seen: usize, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        until("a line of the access log", Duration::from_secs(10), async || {
            let lines = self.access_log();
            let line = lines.iter().skip(seen).find(|line| wanted(line));
            line.cloned().with_context(|| format!("{} new lines", lines.len().saturating_sub(seen)))
        })
        .await
    }

    /// What Envoy itself logged.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::stderr).unwrap_or_default()
    }

    /// Ends it without a warning.
    pub fn kill(&mut self) -> Result<()> {
        self.process.as_mut().context("Envoy is not running")?.kill()
    }

    /// Starts it again after [`Envoy::kill`]; it is not awaited.
    pub fn restart(&mut self, stage: &Stage) -> Result<()> {
        let ended = self.process.take().context("Envoy was never started")?;
        self.process = Some(ended.restart(stage)?);
        Ok(())
    }

    /// The admin interface's Unix socket.
    pub fn admin_socket(&self) -> PathBuf {
        self.directory.join("admin.sock")
    }
}
