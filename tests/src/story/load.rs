//! A small, steady load, to see that nothing breaks while something happens.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, ensure};
use tokio::task::JoinSet;

use crate::{Mesh, Workload, http::Ask, postgres};

/// Callers that ask one thing after another.
const CALLERS: usize = 2;

/// How long a caller thinks between two requests.
const PAUSE: Duration = Duration::from_millis(10);

/// How long the report job waits between two sessions.
const REPORT_PAUSE: Duration = Duration::from_millis(150);

/// Requests in the background.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    callers: JoinSet<Tally>,
}

/// How they went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// HTTP requests that were answered with 200.
    pub requests: usize,
    /// Postgres sessions that were opened and answered.
    pub sessions: usize,
    /// What went wrong, each in one line.
    pub failures: Vec<String>,
}

impl Load {
    /// The client asks for customers, each time on a new connection to its sidecar; the report job
    /// opens a session and closes it.
    pub fn start(mesh: &Mesh) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            callers.spawn(ask(mesh.http_socket(Workload::Client), stop.clone(), done.clone()));
        }
        callers.spawn(report(mesh.sidecar(Workload::Report).directory.clone(), stop.clone()));
        Self { stop, done, callers }
    }

    /// HTTP requests that ended so far, well or not.
    pub fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    /// Ends it and counts.
    pub async fn stop(mut self) -> Result<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        let mut sum = Tally::default();
        while let Some(tally) = self.callers.join_next().await {
            let tally = tally?;
            sum.requests += tally.requests;
            sum.sessions += tally.sessions;
            sum.failures.extend(tally.failures);
        }
        Ok(sum)
    }
}

async fn ask(socket: PathBuf, stop: Arc<AtomicBool>, done: Arc<AtomicUsize>) -> Tally {
    let mut tally = Tally::default();
    while !stop.load(Ordering::Relaxed) {
        match Ask::get("/customers").unix(&socket).await {
            Ok(reply) if reply.status == 200 => tally.requests += 1,
            Ok(reply) => tally.failures.push(format!("{} {}", reply.status, reply.body)),
            Err(error) => tally.failures.push(format!("{error:#}")),
        }
        done.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(PAUSE).await;
    }
    tally
}

async fn report(directory: PathBuf, stop: Arc<AtomicBool>) -> Tally {
    let mut tally = Tally::default();
    while !stop.load(Ordering::Relaxed) {
        match session(&directory).await {
            Ok(()) => tally.sessions += 1,
            Err(error) => tally.failures.push(format!("report's session: {error:#}")),
        }
        tokio::time::sleep(REPORT_PAUSE).await;
    }
    tally
}

async fn session(directory: &std::path::Path) -> Result<()> {
    let client = postgres::connect(directory, "customers_reader", "customers").await?;
    let rows = client.query("select id from customers", &[]).await?;
    ensure!(!rows.is_empty(), "no customers");
    Ok(())
}
