//! The example API as a real process.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::{Launch, PATIENCE, Process, Stage, until};

/// A running API, on a Unix socket.
#[derive(Debug)]
pub struct Api {
    process: Process,
    socket: PathBuf,
}

impl Api {
    /// Starts it with its socket in `directory`, where its sidecar's Postgres socket is too.
    pub fn start(stage: &Stage, directory: &Path, options: &[String]) -> Result<Self> {
        let socket = directory.join("api.sock");
        let program = stage.within_reach(&stage.programs.own("example-api")?)?;
        let process = Launch::new("api", program, &stage.accounts.mesh)
            .args(["--listen", &format!("unix:{}", socket.display())])
            .arg("--database")
            .arg(format!("host={} user=api dbname=customers", directory.display()))
            .args(options)
            .env("RUST_LOG", "info")
            .start(stage)?;
        Ok(Self { process, socket })
    }

    /// Waits until it listens.
    pub async fn ready(&mut self) -> Result<()> {
        until("the API listens", PATIENCE, async || {
            self.process.alive()?;
            Ok(tokio::net::UnixStream::connect(&self.socket).await.map(drop)?)
        })
        .await
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.process.stdout() + &self.process.stderr()
    }
}
