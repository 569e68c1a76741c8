//! The drivers, and how the program of each is run.

use std::{fmt, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use e2e::{Launch, Stage, until};
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::scene::{Guise, Scene, Way};

/// For all steps of one program, on a machine that is busy with the others, beside its idle time.
const PATIENCE: Duration = Duration::from_mins(5);

/// One of the drivers that must work unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Driver {
    Psql,
    Pgbench,
    Psycopg,
    Asyncpg,
    TokioPostgres,
    Pgjdbc,
    Pgx,
    NodePostgres,
}

impl Driver {
    pub(crate) const ALL: [Self; 8] = [
        Self::Psql,
        Self::Pgbench,
        Self::Psycopg,
        Self::Asyncpg,
        Self::TokioPostgres,
        Self::Pgjdbc,
        Self::Pgx,
        Self::NodePostgres,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Psql => "psql 15",
            Self::Pgbench => "pgbench 15",
            Self::Psycopg => "psycopg 3, libpq 18",
            Self::Asyncpg => "asyncpg",
            Self::TokioPostgres => "tokio-postgres",
            Self::Pgjdbc => "pgjdbc",
            Self::Pgx => "pgx",
            Self::NodePostgres => "node-postgres",
        }
    }

    /// Its program in `tests/drivers/`, by what `cargo xtask setup` has installed for it.
    fn program(self, stage: &Stage, name: &str) -> Result<Launch> {
        let programs = &stage.programs;
        let source = |path: &str| programs.repository_file(&format!("tests/drivers/{path}"));
        let launch = |program: &Path| Launch::new(name, program, &stage.accounts.harness);
        Ok(match self {
            Self::Psql | Self::Pgbench => {
                let bin = programs.psql()?;
                let bin = bin.parent().context("psql lies in no directory")?.display();
                let path = std::env::var("PATH").unwrap_or_default();
                let folder = if self == Self::Psql { "psql" } else { "pgbench" };
                launch(&source(&format!("{folder}/steps.sh"))?).env("PATH", format!("{bin}:{path}"))
            }
            Self::Psycopg | Self::Asyncpg => {
                let folder = if self == Self::Psycopg { "psycopg" } else { "asyncpg" };
                launch(Path::new("python3"))
                    .arg(source(&format!("{folder}/steps.py"))?)
                    .env("PYTHONPATH", programs.driver("python")?)
            }
            Self::TokioPostgres => launch(&programs.own("driver-tokio-postgres")?),
            Self::Pgjdbc => {
                let folder = programs.driver("pgjdbc")?;
                let jar = folder.join("postgresql.jar");
                launch(Path::new("java"))
                    .arg("-cp")
                    .arg(format!("{}:{}", jar.display(), folder.display()))
                    .arg("Steps")
            }
            Self::Pgx => launch(&programs.driver("pgx/steps")?),
            Self::NodePostgres => launch(Path::new("node"))
                .arg(source("node-postgres/steps.js")?)
                .env("NODE_PATH", programs.driver("node-postgres/node_modules")?),
        })
    }

    /// Runs these steps and returns what came of each, in their order. One program at a time has
    /// each of the turns `at_work`; one that will only wait gives its turn back after its first step.
    pub(crate) async fn run(
        self,
        scene: &Scene,
        run: &Run,
        idle: u32,
        at_work: &Semaphore,
    ) -> Result<Vec<Outcome>> {
        let Run { way, guise, steps, .. } = run;
        let mut launch = self.program(&scene.mesh.stage, &run.name())?;
        for (key, value) in scene.environment(*way, *guise) {
            launch = launch.env(key, value);
        }
        let launch = launch
            .env("RUN", format!("{} by {}", self.name(), way.name()))
            .env("IDLE_SECONDS", idle.to_string())
            .args(steps.iter().map(|step| step.argument()));
        let turn = at_work.acquire().await?;
        let mut program = launch.start(&scene.mesh.stage)?;
        if run.waits() {
            until("the first step", PATIENCE, async || {
                ensure!(!program.stdout().is_empty() || program.exited().is_some(), "no line yet");
                Ok(())
            })
            .await?;
            drop(turn);
        }
        let patience = PATIENCE + Duration::from_secs(idle.into());
        until("the last step", patience, async || {
            program.exited().with_context(|| format!("so far: {}", program.stdout()))
        })
        .await?;
        let (printed, complaints) = (program.stdout(), program.stderr());
        let outcomes: Result<Vec<Outcome>, _> = printed.lines().map(serde_json::from_str).collect();
        let outcomes = outcomes.with_context(|| format!("not a step: {printed}{complaints}"))?;
        ensure!(outcomes.len() == steps.len(), "{printed}{complaints}");
        Ok(outcomes)
    }
}

/// One start of a driver's program.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) driver: Driver,
    pub(crate) way: Way,
    pub(crate) guise: Guise,
    pub(crate) steps: Vec<Step>,
}

impl Run {
    /// Does it do little but wait?
    pub(crate) fn waits(&self) -> bool {
        self.steps.contains(&Step::Idle)
    }

    /// For its log; no two have the same.
    fn name(&self) -> String {
        let first = self.steps.first().map_or("nothing", |step| step.name());
        format!("{} by {} {first}-{}", self.driver.name(), self.way.name(), self.steps.len())
    }
}

/// What `tests/drivers/README.md` lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Connect,
    Simple,
    Extended,
    Prepared,
    CopyIn,
    CopyOut,
    Notify,
    Cancel,
    Large,
    Idle,
    Denied,
    /// Connects, being told of another server than there is.
    Impostor,
}

impl Step {
    /// Those that need neither patience nor another guise.
    pub(crate) const AT_WORK: [Self; 8] = [
        Self::Connect,
        Self::Simple,
        Self::Extended,
        Self::Prepared,
        Self::CopyIn,
        Self::CopyOut,
        Self::Notify,
        Self::Large,
    ];

    /// The step as the programs know it.
    fn argument(self) -> &'static str {
        if self == Self::Impostor { Self::Connect.name() } else { self.name() }
    }

    /// The step as the page calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Simple => "simple",
            Self::Extended => "extended",
            Self::Prepared => "prepared",
            Self::CopyIn => "copy-in",
            Self::CopyOut => "copy-out",
            Self::Notify => "notify",
            Self::Cancel => "cancel",
            Self::Large => "large",
            Self::Idle => "idle",
            Self::Denied => "denied",
            Self::Impostor => "impostor",
        }
    }

    /// Is this what comes of it where all is well?
    pub(crate) fn is_well(self, outcome: &Outcome) -> bool {
        let wanted = match self {
            Self::Connect => "customers_writer",
            Self::Simple | Self::Extended | Self::Idle => "42",
            Self::Prepared => "1 4 9",
            Self::CopyIn | Self::CopyOut => "1000",
            Self::Notify => "hello",
            Self::Cancel => "57014",
            Self::Large => "100000000",
            Self::Denied => "28000",
            Self::Impostor => return !outcome.ok,
        };
        outcome.ok && outcome.detail == wanted
    }
}

/// What a program printed of a step.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) step: String,
    pub(crate) ok: bool,
    pub(crate) detail: String,
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.ok { "returned" } else { "failed with" };
        write!(out, "{} {word} {:?}", self.step, self.detail)
    }
}
