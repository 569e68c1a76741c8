//! `pgbench`, and what it saw.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use e2e::{Launch, Stage};

use super::{
    cases::{Load, Script},
    database::{BENCH, VERSION},
};

/// How long it goes on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Length {
    Seconds(u32),
    /// Of each client.
    Transactions(u32),
}

/// Where `pgbench` connects, and as whom.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// An address, or the directory of a Unix socket.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: &'static str,
    /// More for libpq, by environment variables.
    pub(super) settings: Vec<(&'static str, PathBuf)>,
}

/// What the clients saw.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) transactions: u64,
    pub(super) tps: f64,
    /// Of each transaction but a client's first: from the end of the one before to its own, so that connecting is
    /// within. Ascending, in milliseconds.
    pub(super) cycles: Vec<f64>,
}

impl Target {
    /// Runs a load to its end. A transaction that fails is an error.
    pub(super) async fn run(&self, stage: &Stage, load: Load, length: Length) -> Result<Seen> {
        let program = stage.programs.postgres(VERSION)?.join("bin/pgbench");
        let directory = stage.directory("pgbench", &stage.accounts.mesh)?;
        let clients = load.clients;
        let mut launch = Launch::new("pgbench", program, &stage.accounts.mesh)
            // A thread each, as connecting occupies one.
            .args(["--no-vacuum", &format!("--client={clients}"), &format!("--jobs={clients}")])
            .args(["--log", &format!("--log-prefix={}", directory.join("log").display())])
            .args([format!("--host={}", self.host), format!("--port={}", self.port)])
            .arg(format!("--username={}", self.user))
            .arg(match length {
                Length::Seconds(seconds) => format!("--time={seconds}"),
                Length::Transactions(count) => format!("--transactions={count}"),
            })
            // Neither is there to be found; looking for them would cost time.
            .env("PGGSSENCMODE", "disable")
            .env("HOME", &directory);
        if load.script == Script::Select {
            launch = launch.arg("--select-only");
        }
        if load.connects {
            launch = launch.arg("--connect");
        }
        for (name, value) in &self.settings {
            launch = launch.env(name, value);
        }
        let printed = launch.arg(BENCH).printed().await?;
        let seen = Seen::read(&printed, &logs(&directory)?);
        seen.with_context(|| format!("pgbench says: {}", printed.trim()))
    }
}

/// All that its threads logged, which is then removed.
fn logs(directory: &Path) -> Result<String> {
    let mut text = String::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        text += &fs::read_to_string(&path)?;
        fs::remove_file(&path)?;
    }
    Ok(text)
}

impl Seen {
    fn read(printed: &str, log: &str) -> Result<Self> {
        let after = |words: &str| {
            let line = printed.lines().find_map(|line| line.strip_prefix(words));
            line.and_then(|rest| rest.split([' ', '/']).next())
                .with_context(|| format!("no {words:?}"))
        };
        let transactions = after("number of transactions actually processed: ")?.parse()?;
        ensure!(transactions > 0, "no transaction came to its end");
        let failed = after("number of failed transactions: ")?;
        ensure!(failed == "0", "{failed} transactions failed");
        ensure!(!printed.contains("aborted"), "a client gave up");
        Ok(Self { transactions, tps: after("tps = ")?.parse()?, cycles: cycles(log) })
    }
}

/// A line of the log is: client, transaction, latency, script, then the time of its end as seconds and microseconds.
fn cycles(log: &str) -> Vec<f64> {
    let mut ends: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for line in log.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let number = |index: usize| fields.get(index)?.parse::<f64>().ok();
        let client = fields.first().and_then(|client| client.parse().ok());
        if let (Some(client), Some(seconds), Some(micros)) = (client, number(4), number(5)) {
            ends.entry(client).or_default().push(seconds.mul_add(1e3, micros / 1e3));
        }
    }
    let mut cycles: Vec<f64> = ends
        .values_mut()
        .flat_map(|ends| {
            ends.sort_by(f64::total_cmp);
            ends.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>()
        })
        .collect();
    cycles.sort_by(f64::total_cmp);
    cycles
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "\
pgbench (15.14 (Debian 15.14-0+deb12u1))
transaction type: <builtin: select only>
number of transactions actually processed: 10/10
number of failed transactions: 0 (0.000%)
latency average = 0.318 ms
initial connection time = 6.022 ms
tps = 3148.614610 (without initial connection time)
";

    #[test]
    fn what_it_prints_and_logs_is_understood() {
        let log = "0 0 199 0 1700000000 100\n1 0 1 0 1700000000 900\n0 1 5 0 1700000000 2100\n0 2 5 0 1700000001 3100\n";
        let seen = Seen::read(PRINTED, log).unwrap();
        assert_eq!(seen.transactions, 10);
        assert!((seen.tps - 3_148.614_61).abs() < 1e-6);
        let cycles: Vec<String> = seen.cycles.iter().map(|cycle| format!("{cycle:.1}")).collect();
        assert_eq!(cycles, ["2.0", "1001.0"]);
    }

    #[test]
    fn a_failure_is_no_figure() {
        let failed = PRINTED.replace("failed transactions: 0", "failed transactions: 3");
        assert!(Seen::read(&failed, "").is_err());
        assert!(Seen::read("pgbench: error: connection to server failed", "").is_err());
    }
}
