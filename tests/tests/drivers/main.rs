//! Postgres drivers as they are, through the mesh to PostgreSQL 15 and 18: what each can do, and what
//! it can't, stands in `docs/drivers.md`; `BLESS=1` writes it anew. `SIGNET_IDLE_SECONDS` makes the idle
//! session a longer one.

mod driver;
mod exceptions;
mod scene;
mod table;

use anyhow::{Context, Result};
use e2e::PostgresVersion;
use futures::future::try_join_all;
use tokio::sync::Semaphore;

use driver::{Driver, Outcome, Run, Step};
use scene::{Guise, Scene, Way};
use table::{Cell, Table};

/// Longer than every deadline of the filter. In seconds.
const IDLE: u32 = 18;

/// Programs that start or work at a time, beside those that wait: as many as CI has processors.
const AT_WORK: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn every_driver_works_unchanged() {
    let at_work = Semaphore::new(AT_WORK);
    let on = |version| observe(version, &at_work);
    let (on_15, on_18) = tokio::join!(on(PostgresVersion::V15), on(PostgresVersion::V18));
    let (on_15, on_18) = (on_15.unwrap(), on_18.unwrap());
    println!("{on_15}");
    on_15.assert_as_wanted("15");
    on_18.assert_as_wanted("18");
    assert_eq!(on_15, on_18, "PostgreSQL 15 and 18 differ");
    on_15.assert_documented();
}

/// Everything that is tried, on one version.
async fn observe(version: PostgresVersion, at_work: &Semaphore) -> Result<Table> {
    let scene = Scene::set(version).await?;
    let idle = match std::env::var("SIGNET_IDLE_SECONDS") {
        Ok(seconds) => seconds.parse().context("SIGNET_IDLE_SECONDS is no number")?,
        Err(_) => IDLE,
    };
    let mut runs: Vec<Run> = Driver::ALL.into_iter().flat_map(runs).collect();
    // Those that wait do so while the others work.
    runs.sort_by_key(|run| !run.waits());
    let observed = try_join_all(runs.iter().map(async |run| {
        let outcomes = run.driver.run(&scene, run, idle, at_work).await;
        outcomes.with_context(|| format!("{run:?}"))
    }));
    let mut table = Table::default();
    for (Run { driver, way, steps, .. }, outcomes) in runs.iter().zip(observed.await?) {
        for (step, outcome) in steps.iter().zip(outcomes) {
            table.put(Cell { driver: *driver, way: *way, step: *step }, &outcome);
        }
    }
    Ok(table)
}

/// What is run of one driver.
fn runs(driver: Driver) -> Vec<Run> {
    let mut runs = Vec::new();
    for way in Way::ALL {
        let mut run = |guise, steps: &[Step]| {
            runs.push(Run { driver, way, guise, steps: steps.to_vec() });
        };
        if exceptions::bars(driver, way) {
            run(Guise::Guest, &[Step::Connect]);
            continue;
        }
        run(Guise::Guest, &Step::AT_WORK);
        run(Guise::Guest, &[Step::Connect, Step::Cancel, Step::Idle]);
        run(Guise::Stranger, &[Step::Denied]);
        if way == Way::DirectTls {
            run(Guise::Misled, &[Step::Impostor]);
        }
    }
    runs
}
