//! A real sds-server, as the sidecar of one workload.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use sha2::{Digest, Sha256};

use crate::{
    Entry, IdentitySource, Launch, PATIENCE, Process, Spire, Stage, Workload, http::Ask, until,
    usage,
};

/// A running server.
#[derive(Debug)]
pub struct SdsServer {
    process: Option<Process>,
    directory: PathBuf,
}

/// How the server of a whole node asks for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeSource {
    /// By the SPIFFE Broker API.
    Broker,
    /// By SPIRE's Delegated Identity API.
    Delegated,
}

impl SdsServer {
    /// Starts a server that holds the identity of `workload`; it is not awaited.
    pub fn start(
        stage: &Stage,
        source: &IdentitySource,
        name: &str,
        workload: Workload,
        policy: &Path,
        directory: &Path,
    ) -> Result<Self> {
        let configuration = configured(stage, source, workload, policy, directory)?;
        let program = source.program(stage, workload, "sds-server")?;
        Self::serve(stage, name, &program, &configuration, directory)
    }

    /// Starts a server that serves secrets only, to those of its own account, from a Workload API.
    /// `addition` is more of its configuration, with `$DIRECTORY` for its directory.
    pub fn of_secrets(
        stage: &Stage,
        name: &str,
        program: &Path,
        workload_api: &Path,
        addition: &str,
    ) -> Result<Self> {
        Self::listening(stage, name, program, workload_api, "", addition)
    }

    /// The same, which listens on more than its socket: `listen` is more of that configuration.
    pub fn listening(
        stage: &Stage,
        name: &str,
        program: &Path,
        workload_api: &Path,
        listen: &str,
        addition: &str,
    ) -> Result<Self> {
        let directory = stage.directory(&format!("{name}-sds"), &stage.accounts.mesh)?;
        let at = directory.display().to_string();
        let configuration = format!(
            r#"source: {{ workload_api: {{ socket: "unix://{api}" }} }}
listen: {{ path: {at}/sds.sock, mode: "0660"{listen} }}
admin: {{ listen: "unix://{at}/sds-admin.sock" }}
process: {{ dumpable: {dumpable} }}
{addition}
"#,
            api = workload_api.display(),
            dumpable = stage.accounts.harness.uid != 0,
            addition = addition.replace("$DIRECTORY", &at),
        );
        Self::serve(stage, name, program, &configuration, &directory)
    }

    /// Starts a server for all processes of the node, each with its own identities. `addition` is
    /// more of its configuration, with `$DIRECTORY` for its directory.
    pub fn of_node(
        stage: &Stage,
        spire: &Spire,
        source: NodeSource,
        svid_ttl: u32,
        addition: &str,
    ) -> Result<Self> {
        let directory = stage.directory("node-sds", &stage.accounts.mesh)?;
        let program = stage.path().join("acting/node/sds-server");
        stage.link(&stage.programs.own("sds-server")?, &program)?;
        let entry = Entry::named("node", "/ns/signet/sa/sds-server", &program, svid_ttl);
        spire.create(stage, &[entry])?;
        let source = match source {
            NodeSource::Broker => format!(
                r#"broker: {{ socket: "unix://{}", workload_api: "unix://{}" }}"#,
                spire.broker_socket(stage).display(),
                spire.socket().display(),
            ),
            NodeSource::Delegated => format!(
                r#"delegated: {{ admin_socket: "unix://{}" }}"#,
                spire.admin_socket(stage).display(),
            ),
        };
        let at = directory.display().to_string();
        let configuration = format!(
            r#"source: {{ {source} }}
listen: {{ path: {at}/sds.sock, mode: "0666" }}
admin: {{ listen: "unix://{at}/sds-admin.sock" }}
{addition}
"#,
            addition = addition.replace("$DIRECTORY", &at),
        );
        Self::serve(stage, "node", &program, &configuration, &directory)
    }

    fn serve(
        stage: &Stage,
        name: &str,
        program: &Path,
        text: &str,
        directory: &Path,
    ) -> Result<Self> {
        let configuration = directory.join("sds-server.yaml");
        fs::write(&configuration, text)?;
        let process = Launch::new(format!("{name}-sds-server"), program, &stage.accounts.mesh)
            .arg("--config")
            .arg(configuration)
            .env("RUST_LOG", "info")
            .start(stage)?;
        Ok(Self { process: Some(process), directory: directory.to_path_buf() })
    }

    /// A page of its admin listener: `/readyz`, `/metrics`, `/status`.
    pub async fn admin(&self, page: &str) -> Result<crate::http::Reply> {
        Ask::get(page)
            .header("host", "localhost")
            .unix(&self.directory.join("sds-admin.sock"))
            .await
    }

    /// Waits until it is ready.
    pub async fn ready(&mut self) -> Result<()> {
        until("sds-server's /readyz", PATIENCE, async || {
            self.process.as_mut().context("sds-server is not running")?.alive()?;
            let reply = self.admin("/readyz").await?;
            if reply.status != 200 {
                bail!("{} {}", reply.status, reply.body.trim());
            }
            Ok(())
        })
        .await
    }

    /// The sum of a metric over all its labels; 0 if it is not there.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let page = self.admin("/metrics").await?.body;
        let lines = page.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(values.sum())
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::stderr).unwrap_or_default()
    }

    /// Where its sockets lie.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The process' number.
    pub fn id(&self) -> Result<u32> {
        Ok(self.process.as_ref().context("sds-server is not running")?.id())
    }

    /// Memory that it holds, in KiB.
    pub fn resident_kib(&self) -> Result<u64> {
        let id = self.id()?;
        Ok(usage::rss(id)? / 1024)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.as_ref().context("sds-server is not running")?.signal(signal)
    }

    /// Ends it without a warning.
    pub fn kill(&mut self) -> Result<()> {
        self.process.as_mut().context("sds-server is not running")?.kill()
    }

    /// Starts it again after [`SdsServer::kill`].
    pub fn restart(&mut self, stage: &Stage) -> Result<()> {
        let ended = self.process.take().context("sds-server was never started")?;
        self.process = Some(ended.restart(stage)?);
        Ok(())
    }

    /// The Unix socket that Envoy asks.
    pub fn socket(directory: &Path) -> PathBuf {
        directory.join("sds.sock")
    }
}

/// A filter's code as the server's configuration names it: `wasm` and `sha256`.
pub fn filter_code(stage: &Stage, name: &str) -> Result<String> {
    // A copy, for the server withholds a filter whose code changes, as a build would change it.
    let wasm = stage.path().join(format!("{name}.wasm"));
    if !wasm.exists() {
        fs::copy(stage.programs.filter(name)?, &wasm)?;
    }
    let digest = hex::encode(Sha256::digest(fs::read(&wasm)?));
    Ok(format!("wasm: {}, sha256: {digest}", wasm.display()))
}

fn configured(
    stage: &Stage,
    source: &IdentitySource,
    workload: Workload,
    policy: &Path,
    directory: &Path,
) -> Result<String> {
    let at = directory.display();
    let (http, postgres) = (filter_code(stage, "spiffe_authz")?, filter_code(stage, "pg_role")?);
    Ok(format!(
        r#"source:
  workload_api: {{ socket: "unix://{api}" }}
listen: {{ path: {at}/sds.sock, mode: "0660" }}
admin: {{ listen: "unix://{at}/sds-admin.sock" }}
policy: {{ file: {policy} }}
filters:
  http: {{ {http}, denial_detail: rule }}
  postgres: {{ {postgres}, denial_detail: rule }}
process: {{ dumpable: {dumpable} }}
"#,
        api = source.socket(workload).display(),
        policy = policy.display(),
        dumpable = source.needs_dumpable_workloads(stage),
    ))
}
