//! Starts a contender afresh, so that its memory begins where it began in every other round.

use std::{fs, path::PathBuf};

use anyhow::{Result, bail};
use e2e::{Launch, PATIENCE, Process, Stage, http::Ask, until};

use super::{cases::Server, spire::Spire, this_program};

/// A contender that can be asked.
#[derive(Debug)]
pub(super) struct Running {
    /// SPIRE's agent belongs to [`Spire`]; the others end with this value.
    process: Option<Process>,
    pub(super) id: u32,
    pub(super) socket: PathBuf,
}

impl Running {
    /// Starts it. SPIRE's agent is started anew for every contender: all shall find the same.
    pub(super) async fn start(stage: &Stage, spire: &mut Spire, server: Server) -> Result<Self> {
        spire.restart_agent(stage)?;
        match server {
            Server::Spire => Ok(Self { process: None, id: spire.agent()?, socket: spire.socket() }),
            Server::Ours => ours(stage, spire).await,
            Server::Minimal => yardstick(stage, spire, server, &[]).await,
            Server::Slim => yardstick(stage, spire, server, &["--slim"]).await,
        }
    }

    /// An error with its last words, if it has ended.
    pub(super) fn alive(&mut self) -> Result<()> {
        self.process.as_mut().map_or(Ok(()), Process::alive)
    }
}

async fn ours(stage: &Stage, spire: &Spire) -> Result<Running> {
    let directory = stage.directory("ours", &stage.accounts.mesh)?;
    let configuration = directory.join("sds-server.yaml");
    let (at, api) = (directory.display(), spire.socket());
    // The limits are for Envoys that misbehave; thousands from one user are what is wanted here.
    let text = format!(
        r#"source:
  workload_api: {{ socket: "unix://{api}" }}
listen: {{ path: {at}/sds.sock, mode: "0660" }}
admin: {{ listen: "unix://{at}/sds-admin.sock" }}
limits:
  connections: 20000
  connections_per_peer: 20000
  opens_per_second: 100000
  opens_burst: 100000
process: {{ dumpable: {dumpable} }}
"#,
        api = api.display(),
        // An agent that is not root could not look at it.
        dumpable = stage.accounts.harness.uid != 0,
    );
    fs::write(&configuration, text)?;
    let program = stage.within_reach(&stage.programs.own("sds-server")?)?;
    let mut process = Launch::new("ours", program, &stage.accounts.mesh)
        .arg("--config")
        .arg(configuration)
        .start(stage)?;
    let admin = directory.join("sds-admin.sock");
    until("sds-server's /readyz", PATIENCE, async || {
        process.alive()?;
        let reply = Ask::get("/readyz").unix(&admin).await?;
        if reply.status != 200 {
            bail!("{} {}", reply.status, reply.body.trim());
        }
        Ok(())
    })
    .await?;
    Ok(Running { id: process.id(), process: Some(process), socket: directory.join("sds.sock") })
}

async fn yardstick(
    stage: &Stage,
    spire: &Spire,
    server: Server,
    variant: &[&str],
) -> Result<Running> {
    let directory = stage.directory(server.key(), &stage.accounts.mesh)?;
    let socket = directory.join("sds.sock");
    until("the yardstick", PATIENCE, async || {
        // It gives up where the agent has nothing for it yet.
        let _ = fs::remove_file(&socket);
        let mut process = Launch::new(server.key(), this_program(stage)?, &stage.accounts.mesh)
            .args(["yardstick", "--agent"])
            .arg(spire.socket())
            .arg("--listen")
            .arg(&socket)
            .args(variant)
            .start(stage)?;
        while !socket.exists() {
            process.alive()?;
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        Ok(Running { id: process.id(), process: Some(process), socket: socket.clone() })
    })
    .await
}
