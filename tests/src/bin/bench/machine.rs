//! What the figures were measured with: the machine, the versions, the commit.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};
use e2e::Programs;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A load above this, before anything was started, makes figures doubtful. Unit: runnable processes.
const QUIET: f64 = 0.5;

/// Where a run took place.
#[derive(Debug)]
pub(crate) struct Machine {
    processor: String,
    cores: usize,
    memory_mib: u64,
    kernel: String,
    /// The load average over one minute, before anything was started.
    load: f64,
}

impl Machine {
    /// Looks at this one.
    pub(crate) fn this() -> Result<Self> {
        let read =
            |path: &str| fs::read_to_string(path).with_context(|| format!("cannot read {path}"));
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory = field(&read("/proc/meminfo")?, "MemTotal").unwrap_or_default();
        let memory: u64 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
        let load = read("/proc/loadavg")?;
        Ok(Self {
            processor: field(&read("/proc/cpuinfo")?, "model name").unwrap_or_default(),
            cores: std::thread::available_parallelism()?.get(),
            memory_mib: memory / 1024,
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            load: load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
        })
    }

    /// A warning, if others were at work.
    pub(crate) fn doubt(&self) -> Option<String> {
        let load = self.load;
        (load > QUIET).then(|| {
            format!(
                "the load was {load} before the run; figures are worth something at {QUIET} or less"
            )
        })
    }

    /// In a line, for people.
    pub(crate) fn line(&self) -> String {
        let Self { processor, cores, memory_mib, kernel, load } = self;
        let gib = memory_mib / 1024;
        format!("{processor}, {cores} cores, {gib} GiB, Linux {kernel}, load {load} before the run")
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "processor": self.processor,
            "cores": self.cores,
            "memory_mib": self.memory_mib,
            "kernel": self.kernel,
            "load_before": self.load,
        })
    }
}

/// What was measured.
#[derive(Debug)]
pub(crate) struct Versions {
    envoy: String,
    commit: String,
    filter_sha256: String,
}

impl Versions {
    /// Asks Envoy and git, and hashes the filter.
    pub(crate) fn of(programs: &Programs, filter: &Path) -> Result<Self> {
        let mut envoy = Command::new(programs.envoy()?);
        let printed = printed(envoy.arg("--version"))?;
        // …/envoy  version: HASH/1.40.0/Clean/RELEASE/BoringSSL
        let envoy = printed.split('/').rev().nth(3).unwrap_or(&printed).trim().to_owned();
        let mut git = Command::new("git");
        git.args(["describe", "--always", "--dirty", "--abbrev=12"]);
        // An export of the sources has no commit.
        let commit = self::printed(git.current_dir(programs.repository_file(".")?))
            .map_or_else(|_| "unknown".to_owned(), |commit| commit.trim().to_owned());
        let filter_sha256 = hex::encode(Sha256::digest(fs::read(filter)?));
        Ok(Self { envoy, commit, filter_sha256 })
    }

    /// In a line, for people.
    pub(crate) fn line(&self) -> String {
        let Self { envoy, commit, filter_sha256 } = self;
        let digest = filter_sha256.get(..12).unwrap_or(filter_sha256);
        format!("Envoy {envoy}, commit {commit}, spiffe_authz.wasm {digest}…")
    }

    pub(crate) fn envoy(&self) -> &str {
        &self.envoy
    }

    pub(crate) fn commit(&self) -> &str {
        &self.commit
    }

    pub(crate) fn filter_sha256(&self) -> &str {
        &self.filter_sha256
    }
}

fn printed(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_owned();
    let output = command.output().with_context(|| format!("cannot run {}", program.display()))?;
    anyhow::ensure!(output.status.success(), "{} failed: {}", program.display(), output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
