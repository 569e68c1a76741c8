//! SPIRE with users as workloads, and one sds-server for all processes of the node.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use e2e::{
    Account, Bootstrap, Entry, Envoy, Launch, NodeSource, PATIENCE, Process, SdsServer, Spire,
    Stage, TRUST_DOMAIN, until,
};
use serde_json::Value;

/// Long enough to survive a restart of the agent, in seconds.
const SVID_TTL: u32 = 120;

/// Everything that runs, but the processes that ask.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) server: SdsServer,
    pub(crate) spire: Spire,
    pub(crate) stage: Stage,
}

/// A user of the node, whom no passwd needs to know.
pub(crate) fn user(name: &str, uid: u32) -> Account {
    Account { name: name.to_owned(), uid, gid: uid }
}

/// What SPIRE calls a user.
pub(crate) fn id_of(user: &Account) -> String {
    format!("spiffe://{TRUST_DOMAIN}/user/{}", user.name)
}

impl Node {
    /// Starts SPIRE with these users registered, and the server with this much more configuration.
    pub(crate) async fn set(
        source: NodeSource,
        users: &[&Account],
        configuration: impl FnOnce(&Stage) -> Result<String>,
    ) -> Result<Self> {
        let stage = Stage::set(None)?;
        ensure!(
            stage.accounts.harness.uid == 0,
            "these tests run processes of several users: be root"
        );
        let spire = Spire::start(&stage, SVID_TTL).await?;
        let entries: Vec<_> = users.iter().map(|user| Entry::of_user(user, SVID_TTL)).collect();
        spire.create(&stage, &entries)?;
        let configuration = configuration(&stage)?;
        let server = SdsServer::of_node(&stage, &spire, source, SVID_TTL, &configuration)?;
        Ok(Self { server, spire, stage })
    }

    /// The one socket of all.
    pub(crate) fn socket(&self) -> PathBuf {
        SdsServer::socket(self.server.directory())
    }

    /// Starts an Envoy of a user, which asks for `default`, for the SVID of `own_id`, and for
    /// bundles. Returns its port too.
    pub(crate) fn envoy(&self, name: &str, user: &Account, own_id: &str) -> Result<(Envoy, u16)> {
        self.envoy_with(name, user, own_id, |_| {})
    }

    /// The same, with a bootstrap that is changed before.
    pub(crate) fn envoy_with(
        &self,
        name: &str,
        user: &Account,
        own_id: &str,
        change: impl FnOnce(&mut Value),
    ) -> Result<(Envoy, u16)> {
        let (stage, port) = (&self.stage, self.stage.free_port()?);
        let directory = stage.directory(name, user)?;
        std::fs::write(directory.join("listeners.yaml"), "resources: []\n")?;
        let bootstrap = Bootstrap::read_file(&stage.programs, "tests/bootstraps/mtls-server.yaml")?
            .with("NODE_ID", name)
            .with("RUN_DIR", directory.display())
            .with("SDS_SOCKET", self.socket().display())
            .with("HOST", stage.address)
            .with("PORT", port)
            .with("SERVER_ID", own_id)
            .with("TRUST_DOMAIN_ID", format!("spiffe://{TRUST_DOMAIN}"))
            .mutate(change)?;
        let program = stage.within_reach(&stage.programs.envoy()?)?;
        Ok((Envoy::start_by(stage, name, &program, user, &bootstrap, &directory)?, port))
    }

    /// Starts a process of a user that asks for `default` on so many connections and streams each.
    pub(crate) fn caller(
        &self,
        name: &str,
        user: &Account,
        connections: usize,
        streams: usize,
    ) -> Result<Process> {
        let connections = format!("--connections={connections}");
        let streams = format!("--streams={streams}");
        self.asking(name, user, &[&connections, &streams])
    }

    /// Starts a process of a user that asks for one secret by its name.
    pub(crate) fn caller_for(&self, name: &str, user: &Account, secret: &str) -> Result<Process> {
        self.asking(name, user, &[&format!("--name={secret}")])
    }

    /// What a process of a user prints that asks for `default` by a single request, the first that it makes.
    pub(crate) fn fetched(&self, user: &Account) -> Result<String> {
        let program = self.stage.within_reach(&self.stage.programs.own("sds-caller")?)?;
        Launch::new("fetches", program, user).arg(self.socket()).arg("--fetch").output()
    }

    fn asking(&self, name: &str, user: &Account, arguments: &[&str]) -> Result<Process> {
        let program = self.stage.within_reach(&self.stage.programs.own("sds-caller")?)?;
        Launch::new(name, program, user).arg(self.socket()).args(arguments).start(&self.stage)
    }

    /// Waits until a gauge has this value.
    pub(crate) async fn shows(&self, metric: &str, value: usize) -> Result<()> {
        until(&format!("{metric} is {value}"), PATIENCE, async || {
            let found = self.gauge(metric).await?;
            ensure!(found == value, "{found}");
            Ok(())
        })
        .await
    }

    /// A gauge's value.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small counts")]
    pub(crate) async fn gauge(&self, metric: &str) -> Result<usize> {
        Ok(self.server.metric(metric).await?.round() as usize)
    }

    /// What `/status` says.
    pub(crate) async fn status(&self) -> Result<Value> {
        let reply = self.server.admin("/status").await?;
        serde_json::from_str(&reply.body).context("/status is no JSON")
    }

    /// Waits until `/status` says that an Envoy waits for a secret.
    pub(crate) async fn waits(&self, envoy: &str, secret: &str) -> Result<()> {
        self.tells(&format!("{envoy} waits for {secret}"), |it| waits_for(it, envoy, secret)).await
    }

    /// Waits until `/status` is as wanted.
    pub(crate) async fn tells(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<()> {
        until(what, PATIENCE, async || {
            let status = self.status().await?;
            ensure!(wanted(&status), "{status:#}");
            Ok(())
        })
        .await
    }
}

/// Whether operators are told that a node waits for that secret.
fn waits_for(status: &Value, node: &str, name: &str) -> bool {
    let envoys = status["envoys"].as_array().into_iter().flatten();
    let of_node = envoys.into_iter().filter(|envoy| envoy["node"] == *node);
    of_node
        .flat_map(|envoy| envoy["waiting"].as_array().into_iter().flatten())
        .any(|w| w["name"] == *name)
}

/// The SPIFFE IDs that a caller was answered, one for each answer.
pub(crate) fn answers(caller: &Process) -> Vec<String> {
    let printed = caller.stdout();
    printed.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

/// Waits until a caller was answered so often, and checks that it was always `id`.
pub(crate) async fn answered(caller: &mut Process, count: usize, id: &str) -> Result<()> {
    until("the caller is answered", PATIENCE, async || {
        caller.alive()?;
        let found = answers(caller).len();
        ensure!(found >= count, "{found} answers of {count}");
        Ok(())
    })
    .await?;
    let found = answers(caller);
    ensure!(found.iter().all(|found| found == id), "{found:?}, and not only {id}");
    Ok(())
}
