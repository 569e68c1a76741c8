//! A SPIRE server that runs for the whole bench, and an agent that can be started anew.
//!
//! One entry is for everybody: whoever runs as the bench's mesh account. Workloads are told apart by
//! that alone, so that attesting a stream costs the agent as little as it can.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use e2e::{Launch, PATIENCE, Process, Stage, TRUST_DOMAIN, until};
use serde_json::Value;

/// The name that the entry gives to the agent.
const AGENT_ID: &str = "spiffe://example.org/node";
/// The name that the entry gives to everybody.
const WORKLOAD_ID: &str = "spiffe://example.org/bench";
/// How often the server reads its entries, and the agent asks for them: rounds shall follow quickly.
const SYNC: &str = "500ms";

/// A running server and agent.
#[derive(Debug)]
pub(super) struct Spire {
    agent: Option<Process>,
    // After the agent, which it outlives.
    _server: Process,
    directory: PathBuf,
    entry: String,
    selector: String,
    changes: u32,
}

impl Spire {
    /// Starts both.
    pub(super) async fn start(stage: &Stage) -> Result<Self> {
        let directory = stage.directory("spire", &stage.accounts.harness)?;
        let server = start_server(stage, &directory).await?;
        let control = |command: &[&str], arguments: &[&str]| {
            server_command(stage, &directory, command, arguments)
        };
        fs::write(directory.join("bundle.pem"), control(&["bundle", "show"], &[])?)?;
        let selector = format!("unix:uid:{}", stage.accounts.mesh.uid);
        let created = control(
            &["entry", "create"],
            &[
                "-output",
                "json",
                "-parentID",
                AGENT_ID,
                "-spiffeID",
                WORKLOAD_ID,
                "-selector",
                &selector,
            ],
        )?;
        let created: Value = serde_json::from_str(&created)?;
        let entry = created["results"][0]["entry"]["id"].as_str().context("no entry was made")?;
        let entry = entry.to_owned();
        let token = control(&["token", "generate"], &["-output", "json", "-spiffeID", AGENT_ID])?;
        let token: Value = serde_json::from_str(&token)?;
        let token = token["value"].as_str().context("SPIRE generated no join token")?;
        let agent = start_agent(stage, &directory, token)?;
        Ok(Self { agent: Some(agent), _server: server, directory, entry, selector, changes: 0 })
    }

    /// The agent's socket: Workload API and SDS.
    pub(super) fn socket(&self) -> PathBuf {
        self.directory.join("agent.sock")
    }

    /// The agent's process.
    pub(super) fn agent(&self) -> Result<u32> {
        Ok(self.agent.as_ref().context("the SPIRE agent is not running")?.id())
    }

    /// Ends the agent, however it feels, and starts it with the keys that it kept.
    pub(super) fn restart_agent(&mut self, stage: &Stage) -> Result<()> {
        let mut ended = self.agent.take().context("the SPIRE agent was never started")?;
        ended.kill()?;
        self.agent = Some(ended.restart(stage)?);
        Ok(())
    }

    /// Changes the entry's DNS name, so that everybody gets a new SVID.
    pub(super) fn renew(&mut self, stage: &Stage) -> Result<()> {
        self.changes += 1;
        let name = format!("bench-{}.example.org", self.changes);
        server_command(
            stage,
            &self.directory,
            &["entry", "update"],
            &[
                "-entryID",
                &self.entry,
                "-parentID",
                AGENT_ID,
                "-spiffeID",
                WORKLOAD_ID,
                "-selector",
                &self.selector,
                "-dns",
                &name,
            ],
        )
        .map(drop)
    }
}

async fn start_server(stage: &Stage, directory: &Path) -> Result<Process> {
    let (at, port) = (directory.display(), stage.free_port()?);
    fs::write(directory.join("port"), port.to_string())?;
    let configuration = format!(
        r#"server {{
  bind_address = "{address}"
  bind_port = {port}
  socket_path = "{at}/server.sock"
  trust_domain = "{TRUST_DOMAIN}"
  data_dir = "{at}"
  log_level = "INFO"
  ca_ttl = "24h"
  default_x509_svid_ttl = "4h"
  experimental {{ cache_reload_interval = "{SYNC}" }}
}}
plugins {{
  DataStore "sql" {{ plugin_data {{ database_type = "sqlite3", connection_string = "{at}/server.sqlite3" }} }}
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  KeyManager "memory" {{ plugin_data {{}} }}
}}
"#,
        address = stage.address,
    );
    let path = directory.join("server.conf");
    fs::write(&path, configuration)?;
    let program = stage.programs.spire_server()?;
    let launch = Launch::new("spire-server", program, &stage.accounts.harness);
    let mut process = launch.args(["run", "-config"]).arg(&path).start(stage)?;
    until("SPIRE's server answers", PATIENCE, async || {
        process.alive()?;
        server_command(stage, directory, &["healthcheck"], &[]).map(drop)
    })
    .await?;
    Ok(process)
}

fn start_agent(stage: &Stage, directory: &Path, token: &str) -> Result<Process> {
    let at = directory.display();
    let port = fs::read_to_string(directory.join("port"))?;
    let configuration = format!(
        r#"agent {{
  server_address = "{address}"
  server_port = {port}
  socket_path = "{at}/agent.sock"
  trust_domain = "{TRUST_DOMAIN}"
  trust_bundle_path = "{at}/bundle.pem"
  data_dir = "{at}/agent"
  log_level = "INFO"
  experimental {{ sync_interval = "{SYNC}" }}
}}
plugins {{
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  KeyManager "disk" {{ plugin_data {{ directory = "{at}/agent" }} }}
  WorkloadAttestor "unix" {{ plugin_data {{}} }}
}}
"#,
        address = stage.address,
    );
    fs::create_dir_all(directory.join("agent"))?;
    let path = directory.join("agent.conf");
    fs::write(&path, configuration)?;
    let program = stage.programs.spire_agent()?;
    Launch::new("spire-agent", program, &stage.accounts.harness)
        .args(["run", "-config"])
        .arg(&path)
        .args(["-joinToken", token])
        .start(stage)
}

fn server_command(
    stage: &Stage,
    directory: &Path,
    command: &[&str],
    arguments: &[&str],
) -> Result<String> {
    Launch::new("spire-server", stage.programs.spire_server()?, &stage.accounts.harness)
        .args(command)
        .arg("-socketPath")
        .arg(directory.join("server.sock"))
        .args(arguments)
        .output()
}
