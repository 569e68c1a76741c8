//! A real SPIRE server and agent, on Unix sockets and loopback.
//!
//! Workloads are told apart by the path of their program (`unix:path`), so each has hard links of
//! its own to the programs that ask for its identity.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::json;

use crate::{
    Account, Entry, Launch, PATIENCE, Process, Stage, TRUST_DOMAIN, Workload, fetched::subject_key,
    until,
};

/// The programs that act for a workload.
const ACTING: [&str; 2] = ["sds-server", "fetch-svid"];

/// A running server and agent, with the workloads registered.
#[derive(Debug)]
pub struct Spire {
    agent: Option<Process>,
    // After the agent, which it outlives.
    _server: Process,
    site: Site,
}

/// Where one server and its agent are, and for whom they sign.
#[derive(Debug)]
struct Site {
    trust_domain: String,
    directory: PathBuf,
}

impl Site {
    /// The name that registrations give to the agent.
    fn agent_id(&self) -> String {
        format!("spiffe://{}/node", self.trust_domain)
    }

    /// Whom the agent lets ask for others.
    fn node_server_id(&self) -> String {
        format!("spiffe://{}/ns/signet/sa/sds-server", self.trust_domain)
    }

    /// Where the agent's sockets lie that are for the server of a whole node.
    fn node_directory(&self, stage: &Stage) -> PathBuf {
        stage.path().join(format!("node-{}", self.trust_domain))
    }

    /// Makes that directory. SPIRE lets the owner and the group in: by the set-group-ID bit the
    /// group is that of the mesh.
    fn make_node_directory(&self, stage: &Stage) -> Result<()> {
        let path = self.node_directory(stage);
        fs::create_dir_all(&path)?;
        chown(&path, None, Some(stage.accounts.mesh.gid))?;
        fs::set_permissions(&path, Permissions::from_mode(0o2750))?;
        Ok(())
    }
}

impl Spire {
    /// Starts both and registers every workload. `svid_ttl` in seconds.
    pub async fn start(stage: &Stage, svid_ttl: u32) -> Result<Self> {
        Self::start_for(stage, TRUST_DOMAIN, svid_ttl).await
    }

    /// The same for another trust domain.
    pub async fn start_for(stage: &Stage, trust_domain: &str, svid_ttl: u32) -> Result<Self> {
        let account = &stage.accounts.harness;
        let directory = stage.directory(&format!("spire-{trust_domain}"), account)?;
        let site = Site { trust_domain: trust_domain.to_owned(), directory };
        let server = start_server(stage, account, &site, svid_ttl).await?;
        let bundle = control(stage, &site, &["bundle", "show"])?;
        fs::write(site.directory.join("bundle.pem"), bundle)?;
        register(stage, &site, svid_ttl)?;
        let generated = control(
            stage,
            &site,
            &["token", "generate", "-output", "json", "-spiffeID", &site.agent_id()],
        )?;
        let generated: serde_json::Value = serde_json::from_str(&generated)?;
        let token = generated["value"].as_str().context("SPIRE generated no join token")?;
        let agent = start_agent(stage, account, &site, token)?;
        let mut spire = Self { agent: Some(agent), _server: server, site };
        spire.answers(stage).await?;
        Ok(spire)
    }

    /// Tells this server another's bundle, as its operator would.
    pub fn trust(&self, stage: &Stage, other: &Self) -> Result<()> {
        let bundle = other.control(stage, &["bundle", "show", "-format", "spiffe"])?;
        let file = self.site.directory.join(format!("{}.json", other.site.trust_domain));
        fs::write(&file, bundle)?;
        let id = format!("spiffe://{}", other.site.trust_domain);
        let file = file.to_string_lossy();
        let command = ["bundle", "set", "-format", "spiffe", "-id", &id, "-path", &file];
        self.control(stage, &command).map(drop)
    }

    /// The Workload API, one for all.
    pub fn socket(&self) -> PathBuf {
        self.site.directory.join("agent.sock")
    }

    /// The Broker API, for the server of a whole node.
    pub fn broker_socket(&self, stage: &Stage) -> PathBuf {
        self.site.node_directory(stage).join("broker.sock")
    }

    /// The admin socket with the Delegated Identity API, for the same.
    pub fn admin_socket(&self, stage: &Stage) -> PathBuf {
        self.site.node_directory(stage).join("admin.sock")
    }

    /// A program that acts for a workload, by its path.
    pub fn program(stage: &Stage, workload: Workload, name: &str) -> PathBuf {
        stage.path().join("acting").join(workload.name()).join(name)
    }

    /// The keys of the server's CAs, in hex.
    pub fn authorities(&self, stage: &Stage) -> Result<Vec<String>> {
        let bundle = control(stage, &self.site, &["bundle", "show"])?;
        let roots = CertificateDer::pem_slice_iter(bundle.as_bytes());
        roots.map(|root| subject_key(&root.context("SPIRE's bundle is no PEM")?)).collect()
    }

    /// Adds entries.
    pub fn create(&self, stage: &Stage, entries: &[Entry]) -> Result<()> {
        enter(stage, &self.site, "create", entries)
    }

    /// Changes entries, which makes new SVIDs.
    pub fn update(&self, stage: &Stage, entries: &[Entry]) -> Result<()> {
        enter(stage, &self.site, "update", entries)
    }

    /// Deletes an entry.
    pub fn delete(&self, stage: &Stage, entry: &Entry) -> Result<()> {
        self.control(stage, &["entry", "delete", "-entryID", &entry.id]).map(drop)
    }

    /// One of the server's own commands, e.g. `["bundle", "show"]`, and what it prints.
    pub fn control(&self, stage: &Stage, command: &[&str]) -> Result<String> {
        control(stage, &self.site, command)
    }

    /// The agent's process number.
    pub fn agent_process(&self) -> Result<u32> {
        Ok(self.agent.as_ref().context("the SPIRE agent is not running")?.id())
    }

    /// Ends the agent without a warning.
    pub fn kill_agent(&mut self) -> Result<()> {
        self.agent.as_mut().context("the SPIRE agent is not running")?.kill()
    }

    /// Starts the agent again, with the keys that it kept.
    pub async fn restart_agent(&mut self, stage: &Stage) -> Result<()> {
        let ended = self.agent.take().context("the SPIRE agent was never started")?;
        self.agent = Some(ended.restart(stage)?);
        self.answers(stage).await
    }

    /// Waits until each workload gets its identity.
    async fn answers(&mut self, stage: &Stage) -> Result<()> {
        for workload in Workload::ALL {
            let fetch = Self::program(stage, workload, "fetch-svid");
            let socket = self.socket();
            until("SPIRE's agent knows the workloads", PATIENCE, async || {
                self.agent.as_mut().context("the SPIRE agent is not running")?.alive()?;
                let launch = Launch::new("fetch-svid", &fetch, &stage.accounts.mesh);
                launch.arg(&socket).output().map(drop)
            })
            .await?;
        }
        Ok(())
    }
}

async fn start_server(
    stage: &Stage,
    account: &Account,
    site: &Site,
    svid_ttl: u32,
) -> Result<Process> {
    let Site { trust_domain, directory } = site;
    let at = directory.display();
    let configuration = format!(
        r#"server {{
  bind_address = "{address}"
  bind_port = {port}
  socket_path = "{at}/server.sock"
  trust_domain = "{trust_domain}"
  data_dir = "{at}"
  log_level = "INFO"
  ca_ttl = "24h"
  default_x509_svid_ttl = "{svid_ttl}s"
}}
plugins {{
  DataStore "sql" {{ plugin_data {{ database_type = "sqlite3", connection_string = "{at}/server.sqlite3" }} }}
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  KeyManager "memory" {{ plugin_data {{}} }}
}}
"#,
        address = stage.address,
        port = write_port(stage, directory)?,
    );
    let path = directory.join("server.conf");
    fs::write(&path, configuration)?;
    let program = stage.programs.spire_server()?;
    let launch = Launch::new("spire-server", program, account).args(["run", "-config"]).arg(&path);
    let mut process = launch.start(stage)?;
    until("SPIRE's server answers", PATIENCE, async || {
        process.alive()?;
        control(stage, site, &["healthcheck"]).map(drop)
    })
    .await?;
    Ok(process)
}

fn start_agent(stage: &Stage, account: &Account, site: &Site, token: &str) -> Result<Process> {
    let Site { trust_domain, directory } = site;
    site.make_node_directory(stage)?;
    let at = directory.display();
    let port = fs::read_to_string(directory.join("port"))?;
    let configuration = format!(
        r#"agent {{
  server_address = "{address}"
  server_port = {port}
  socket_path = "{at}/agent.sock"
  trust_domain = "{trust_domain}"
  trust_bundle_path = "{at}/bundle.pem"
  data_dir = "{at}/agent"
  log_level = "INFO"
  admin_socket_path = "{node}/admin.sock"
  authorized_delegates = ["{node_server}"]
  experimental {{
    sync_interval = "1s" # so that a test sees a change within a second
    broker {{
      socket_path = "{node}/broker.sock"
      brokers = [{{
        id = "{node_server}"
        allowed_reference_types = [
          {{ type_url = "type.googleapis.com/spiffe.broker.WorkloadPIDReference" }},
        ]
      }}]
    }}
  }}
}}
plugins {{
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  KeyManager "disk" {{ plugin_data {{ directory = "{at}/agent" }} }}
  WorkloadAttestor "unix" {{ plugin_data {{ discover_workload_path = true, workload_size_limit = -1 }} }}
}}
"#,
        address = stage.address,
        node = site.node_directory(stage).display(),
        node_server = site.node_server_id(),
    );
    fs::create_dir_all(directory.join("agent"))?;
    let path = directory.join("agent.conf");
    fs::write(&path, configuration)?;
    Launch::new("spire-agent", stage.programs.spire_agent()?, account)
        .args(["run", "-config"])
        .arg(&path)
        .args(["-joinToken", token])
        .start(stage)
}

/// Links each workload's programs and registers their paths.
fn register(stage: &Stage, site: &Site, svid_ttl: u32) -> Result<()> {
    let mut entries = Vec::new();
    for workload in Workload::ALL {
        for name in ACTING {
            let link = Spire::program(stage, workload, name);
            if !link.exists() {
                stage.link(&stage.programs.own(name)?, &link)?;
            }
            entries.push(Entry::new(workload, &link, svid_ttl).within(&site.trust_domain));
        }
    }
    enter(stage, site, "create", &entries)
}

/// Creates or updates entries.
fn enter(stage: &Stage, site: &Site, how: &str, entries: &[Entry]) -> Result<()> {
    let path = site.directory.join("entries.json");
    let entries: Vec<_> = entries.iter().map(|entry| entry.json(&site.agent_id())).collect();
    fs::write(&path, json!({ "entries": entries }).to_string())?;
    control(stage, site, &["entry", how, "-data", &path.to_string_lossy()]).map(drop)
}

/// One of the server's own commands: its words, then its options.
fn control(stage: &Stage, site: &Site, command: &[&str]) -> Result<String> {
    let words = command.iter().take_while(|word| !word.starts_with('-')).count();
    let (words, options) = command.split_at(words);
    Launch::new("spire-server", stage.programs.spire_server()?, &stage.accounts.harness)
        .args(words)
        .arg("-socketPath")
        .arg(site.directory.join("server.sock"))
        .args(options)
        .output()
}

/// Chooses the server's port and notes it for the agent.
fn write_port(stage: &Stage, directory: &Path) -> Result<u16> {
    let port = stage.free_port()?;
    fs::write(directory.join("port"), port.to_string())?;
    Ok(port)
}
