//! What the command line takes: `signet policy` over many rules, each command a process that ends.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use e2e::Programs;
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};

use crate::{
    figures::{median, rounded, shown, thousands},
    row::{Aim, Row},
};

/// Rules of the policy that is checked and decided by, of the two that are compared, and cases of a batch.
const RULES: usize = 10_000;
const COMPARED: usize = 2_000;
const CASES: usize = 10_000;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Check,
    Diff,
    Who,
    Decide,
    Batch,
    Compile,
    /// No command: reading a slice and building its index, as the filters do, by an example of `policy/core`.
    Native,
}

/// One run. Units: milliseconds.
#[derive(Clone, Copy, Debug)]
struct Spent {
    cpu: f64,
    wall: f64,
}

/// The tasks, and what each has taken so far.
#[derive(Debug)]
pub(super) struct Commands {
    files: Files,
    measured: Vec<(Task, Vec<Spent>)>,
    smoke: bool,
}

#[derive(Debug)]
struct Files {
    signet: PathBuf,
    /// Where a program lies that only `cargo xtask bench` builds.
    native: PathBuf,
    policy: PathBuf,
    old: PathBuf,
    new: PathBuf,
    batch: PathBuf,
}

impl Task {
    const ALL: [Self; 7] = [
        Self::Check,
        Self::Diff,
        Self::Who,
        Self::Decide,
        Self::Batch,
        Self::Compile,
        Self::Native,
    ];

    const fn key(self) -> &'static str {
        match self {
            Self::Check => "signet-check",
            Self::Diff => "signet-diff",
            Self::Who => "signet-who",
            Self::Decide => "signet-decide",
            Self::Batch => "signet-batch",
            Self::Compile => "signet-compile",
            Self::Native => "native-compile",
        }
    }

    fn title(self) -> String {
        let (rules, compared, cases) = (thousands(RULES), thousands(COMPARED), thousands(CASES));
        match self {
            Self::Check => format!("signet policy check, {rules} rules"),
            Self::Diff => format!("signet policy diff, {compared} rules, of which 10 differ"),
            Self::Who => format!("signet policy who, {compared} rules"),
            Self::Decide => format!("signet policy decide, {rules} rules, module cached"),
            Self::Batch => format!("signet policy decide --batch, {cases} cases, {rules} rules"),
            Self::Compile => format!("signet policy compile, {rules} rules of YAML"),
            Self::Native => format!("a slice of {rules} rules read and indexed natively"),
        }
    }

    /// The bound in milliseconds, and whether it is on CPU or on time.
    const fn aim(self) -> Option<(f64, &'static str)> {
        match self {
            Self::Check => Some((100.0, "ms of CPU")),
            Self::Diff | Self::Who | Self::Batch => Some((2_000.0, "ms")),
            Self::Decide => Some((150.0, "ms")),
            Self::Native => Some((50.0, "ms of CPU")),
            Self::Compile => None,
        }
    }
}

impl Commands {
    /// Writes the policies; a smoke run has a tenth of the rules.
    pub(super) fn lay_out(
        programs: &Programs,
        directory: &Path,
        keys: &[String],
        smoke: bool,
    ) -> Result<Self> {
        let part = if smoke { 10 } else { 1 };
        let write = |name: &str, text: String| {
            let path = directory.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            anyhow::Ok(path)
        };
        let compared = policy(COMPARED / part);
        let changed = (1..=10).fold(compared.clone(), |text, nth| {
            text.replacen(&format!("paths: [/things/{}]", nth * 7), "paths: [/elsewhere]", 1)
        });
        let files = Files {
            signet: programs.own("signet")?,
            native: programs.example("measure"),
            policy: write("policy.yaml", policy(RULES / part))?,
            old: write("old.yaml", compared)?,
            new: write("new.yaml", changed)?,
            batch: write("cases.jsonl", batch(CASES / part, RULES / part))?,
        };
        // Only `cargo xtask bench` builds it.
        let can = |task: &Task| *task != Task::Native || !smoke;
        let chosen = |task: &Task| keys.is_empty() || keys.iter().any(|key| key == task.key());
        let tasks = Task::ALL.into_iter().filter(can).filter(chosen);
        Ok(Self { files, measured: tasks.map(|task| (task, Vec::new())).collect(), smoke })
    }

    /// The keys that a single case is chosen by.
    pub(super) fn keys() -> impl Iterator<Item = &'static str> {
        Task::ALL.into_iter().map(Task::key)
    }

    /// Each once. The first run of all leaves the compiled modules in their cache.
    pub(super) fn compete(&mut self) -> Result<()> {
        for (task, spent) in &mut self.measured {
            if spent.is_empty() && !self.smoke {
                self.files.run(*task)?;
            }
            let new = self.files.run(*task).with_context(|| format!("case {}", task.key()))?;
            println!("  {:<62} {:>7.1} ms, CPU {:>7.1} ms", task.title(), new.wall, new.cpu);
            spent.push(new);
        }
        Ok(())
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        self.measured.iter().filter_map(|(task, spent)| {
            let (bound, unit) = task.aim()?;
            let spent = Spent::median(spent);
            let ours = if unit == "ms" { spent.wall } else { spent.cpu };
            Some(Row { case: task.title(), unit, ours, peer: None, aim: Aim::AtMost(bound) })
        })
    }

    pub(super) fn json(&self) -> Value {
        let command = |(task, spent): &(Task, Vec<Spent>)| {
            json!({
                "case": task.key(),
                "title": task.title(),
                "median": Spent::median(spent).json(),
                "rounds": spent.iter().map(|spent| spent.json()).collect::<Vec<_>>(),
            })
        };
        self.measured.iter().map(command).collect()
    }

    /// As Markdown.
    pub(super) fn table(&self) -> String {
        let mut text = "| what | ms | ms of CPU |\n| --- | ---: | ---: |\n".to_owned();
        for (task, spent) in &self.measured {
            let Spent { cpu, wall } = Spent::median(spent);
            // Writing to a String cannot fail.
            let _ = writeln!(text, "| {} | {} | {} |", task.title(), shown(wall), shown(cpu));
        }
        text
    }
}

impl Spent {
    fn median(all: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(all.iter().map(figure));
        Self { cpu: of(|spent| spent.cpu), wall: of(|spent| spent.wall) }
    }

    fn json(self) -> Value {
        json!({ "cpu_ms": rounded(self.cpu), "ms": rounded(self.wall) })
    }
}

impl Files {
    fn run(&self, task: Task) -> Result<Spent> {
        let mut command = Command::new(&self.signet);
        command.arg("policy");
        let ends_with = match task {
            Task::Check => command.arg("check").arg(&self.policy),
            Task::Diff => command.arg("diff").arg(&self.old).arg(&self.new),
            Task::Who => command.args(["who", "--to", "api"]).arg(&self.old),
            Task::Compile => command.args(["compile", "--workload", "api"]).arg(&self.policy),
            Task::Batch => command.arg("decide").arg(&self.policy).arg("--batch").arg(&self.batch),
            Task::Decide => {
                let asked = ["--from", "/ns/n7/sa/client", "--to", "api"];
                command.arg("decide").arg(&self.policy).args(asked);
                command.args(["--request", "GET /things/7"])
            }
            Task::Native => return self.natively(),
        };
        let output = ends_with.stdout(Stdio::null()).stderr(Stdio::piped());
        let (began, before) = (Instant::now(), children()?);
        let output = output.output().context("signet cannot be run")?;
        let (wall, cpu) = (began.elapsed(), children()?.saturating_sub(before));
        // What differs is told by the exit code.
        let expected = i32::from(task == Task::Diff);
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(expected), "{}: {complaint}", output.status);
        Ok(Spent { cpu: cpu.as_secs_f64() * 1e3, wall: wall.as_secs_f64() * 1e3 })
    }

    /// The slowest of the shapes that the example knows.
    fn natively(&self) -> Result<Spent> {
        let output = Command::new(&self.native).arg(RULES.to_string()).output();
        let output =
            output.context("the example `measure` cannot be run: use cargo xtask bench")?;
        let text = String::from_utf8(output.stdout)?;
        let sums = text.lines().skip(1).filter_map(|line| {
            let mut figures = line.split_whitespace().skip(2).map(str::parse::<f64>);
            Some(figures.next()?.ok()? + figures.next()?.ok()?)
        });
        let slowest = sums.max_by(f64::total_cmp).context("the example `measure` told nothing")?;
        // One thread that never waits.
        Ok(Spent { cpu: slowest, wall: slowest })
    }
}

/// What all children that have ended used.
fn children() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let [user, system] = [usage.user_time(), usage.system_time()].map(|time| {
        let micros = time.tv_sec().unsigned_abs() * 1_000_000 + time.tv_usec().unsigned_abs();
        Duration::from_micros(micros)
    });
    Ok(user + system)
}

/// A rule for each caller, with a path of its own, and a role that the API may take.
fn policy(rules: usize) -> String {
    let mut text = "version: 1
trust_domain: example.org
workloads: { api: /ns/api-ns/sa/api, db: /ns/db-ns/sa/db }
postgres:
  - { name: roles, from: [api], to: [db], databases: [things], login_role: reader }
http:
"
    .to_owned();
    for nth in 1..=rules {
        let _ = writeln!(
            text,
            "  - {{ name: rule-{nth}, from: [/ns/n{nth}/sa/client], to: [api], methods: [GET], paths: [/things/{nth}], db_role: reader }}"
        );
    }
    text
}

/// Half of them allowed.
fn batch(cases: usize, rules: usize) -> String {
    let mut text = String::new();
    for nth in 0..cases {
        let (caller, thing) = (nth % rules + 1, nth / 2 * 2 % rules + 1);
        let from = format!("/ns/n{caller}/sa/client");
        let case = json!({ "from": from, "to": "api", "request": format!("GET /things/{thing}") });
        let _ = writeln!(text, "{case}");
    }
    text
}
