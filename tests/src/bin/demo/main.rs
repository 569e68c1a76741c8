//! The demo: client → api → Postgres through Envoy, with SVIDs, both Wasm filters and one policy.
//!
//! It tells what happens as it happens, then prints a table in which every cell comes from observed
//! traffic, logs or SQL. A wrong one makes the exit code 1.

mod keep;
mod points;
mod table;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Parser;
use e2e::{Mesh, MeshPlan, PostgresVersion, SourceKind};
use tokio::signal::unix::{SignalKind, signal};

use table::Table;

/// Client → api → Postgres through real Envoys, told as it happens
#[derive(Parser)]
#[command(name = "demo", version)]
struct Arguments {
    /// Leave everything running at the end and print how to talk to it (stop with Ctrl-C)
    #[arg(long)]
    keep: bool,
    /// Take the identities from a real SPIRE server and agent instead of dev-agent
    #[arg(long)]
    spire: bool,
    /// Keep the logs of all processes in this directory
    #[arg(long, value_name = "DIR")]
    log_dir: Option<PathBuf>,
}

/// The age at which a pooled connection is replaced, in seconds: short, so that a rotation shows.
const MAX_CONNECTION_DURATION: u32 = 5;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Dropping the story on a signal ends every process that it started.
    let outcome = tokio::select! {
        outcome = story(&arguments) => outcome,
        () = interrupted() => {
            println!("\nstopped");
            return ExitCode::from(130);
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("error: not everything was as it should be: see the lines marked ✗");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn story(arguments: &Arguments) -> Result<bool> {
    let source = if arguments.spire { SourceKind::Spire } else { SourceKind::DevAgent };
    let mut table = Table::default();
    points::chapter(1, "identities, sidecars, database, API");
    let mesh = MeshPlan::new(source, PostgresVersion::V15)
        .max_connection_duration(MAX_CONNECTION_DURATION)
        .logs(arguments.log_dir.clone())
        .narrated_by(points::tell)
        .start()
        .await?;
    let told = tell_all(&mesh, &mut table).await;
    println!("\n{table}");
    if let Err(error) = told {
        keep::say_where_logs_lie(&mesh, arguments.log_dir.is_some());
        return Err(error);
    }
    if arguments.keep {
        keep::say_how_to_talk_to_it(&mesh).await?;
        interrupted().await;
        println!("\nstopping");
    }
    Ok(table.is_right())
}

async fn tell_all(mesh: &Mesh, table: &mut Table) -> Result<()> {
    points::everything_is_up(mesh, table).await?;
    points::the_client_reads(mesh, table).await?;
    points::denials_and_forgeries(mesh, table).await?;
    points::roles_in_postgres(mesh, table).await?;
    points::rotation(mesh, table).await?;
    points::policy_edit(mesh, table).await
}

async fn interrupted() {
    let hear = |kind| signal(kind);
    match (hear(SignalKind::interrupt()), hear(SignalKind::terminate())) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        }
        // Without handlers the signals end the process, and the kernel its children.
        _ => std::future::pending().await,
    }
}
