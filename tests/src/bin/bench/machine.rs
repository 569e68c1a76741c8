//! What the figures were measured with: the machine, the versions, the commit.

use std::{fs, process::Command};

use anyhow::{Context, Result};
use e2e::{PostgresVersion, Programs};
use serde_json::{Value, json};

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
    commit: String,
    programs: Vec<(&'static str, String)>,
}

impl Versions {
    /// Asks git; the programs follow.
    pub(crate) fn of(programs: &Programs) -> Result<Self> {
        let mut git = Command::new("git");
        git.args(["describe", "--always", "--dirty", "--abbrev=12"]);
        // An export of the sources has no commit.
        let commit = printed(git.current_dir(programs.repository_file(".")?))
            .map_or_else(|_| "unknown".to_owned(), |commit| commit.trim().to_owned());
        Ok(Self { commit, programs: Vec::new() })
    }

    /// Adds a program.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, version: String) -> Self {
        self.programs.push((name, version));
        self
    }

    /// In a line, for people.
    pub(crate) fn line(&self) -> String {
        let programs = self.programs.iter().map(|(name, version)| format!("{name} {version}, "));
        format!("{}commit {}", programs.collect::<String>(), self.commit)
    }

    pub(crate) fn commit(&self) -> &str {
        &self.commit
    }

    pub(crate) fn json(&self) -> Value {
        self.programs.iter().map(|(name, version)| ((*name).to_owned(), json!(version))).collect()
    }
}

/// Envoy's version.
pub(crate) fn envoy(programs: &Programs) -> Result<String> {
    let printed = printed(Command::new(programs.envoy()?).arg("--version"))?;
    // …/envoy  version: HASH/1.40.0/Clean/RELEASE/BoringSSL
    Ok(printed.split('/').rev().nth(3).unwrap_or(&printed).trim().to_owned())
}

/// The version of a Postgres.
pub(crate) fn postgres(programs: &Programs, version: PostgresVersion) -> Result<String> {
    let server = programs.postgres(version)?.join("bin/postgres");
    let printed = printed(Command::new(server).arg("--version"))?;
    // postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)
    Ok(printed.split_whitespace().nth(2).unwrap_or(&printed).to_owned())
}

/// SPIRE agent's version.
pub(crate) fn spire_agent(programs: &Programs) -> Result<String> {
    let mut agent = Command::new(programs.spire_agent()?);
    let output = agent.arg("--version").output().context("cannot run SPIRE's agent")?;
    // It prints its version where errors go.
    let printed = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&printed).trim().to_owned())
}

fn printed(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_owned();
    let output = command.output().with_context(|| format!("cannot run {}", program.display()))?;
    anyhow::ensure!(output.status.success(), "{} failed: {}", program.display(), output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
