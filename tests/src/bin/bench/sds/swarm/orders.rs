//! What the bench tells the swarm, and what it hears: a line of JSON each.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use e2e::{Launch, PATIENCE, Process, Stage, until};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// An order; each is answered once.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Open these streams, and wait until each has a secret.
    Open(Streams),
    /// What comes from now on counts, if it is another secret than the one that all hold.
    Expect,
    /// Wait until every stream has the new secret.
    Await(Duration),
    /// Close all connections.
    Close,
}

/// Streams to be opened.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Streams {
    pub(crate) socket: PathBuf,
    pub(crate) count: usize,
    pub(crate) connections: usize,
    /// The file of the node that goes with every request.
    pub(crate) node: PathBuf,
    /// How many may wait for their first secret at the same time.
    pub(crate) at_once: usize,
    /// The swarm gives up when nothing has arrived for this long.
    pub(crate) patience: Duration,
}

/// What the streams saw since they were opened or told to expect something.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Streams that have what was awaited.
    pub(crate) served: usize,
    /// When the first and the last of them got it.
    pub(crate) first: Duration,
    pub(crate) last: Duration,
    /// For streams that were opened: how long each waited for its first secret, in the middle.
    pub(crate) median_wait: Duration,
    /// Responses, those that repeat something too.
    pub(crate) responses: u64,
    /// What went wrong first, if anything did.
    pub(crate) trouble: Option<String>,
}

/// The swarm's process, as the bench holds it.
#[derive(Debug)]
pub(crate) struct Swarm {
    process: Process,
    answers: BufReader<OwnedReadHalf>,
    orders: OwnedWriteHalf,
}

impl Swarm {
    /// Starts the process.
    pub(crate) async fn start(stage: &Stage) -> Result<Self> {
        let directory = stage.directory("swarm", &stage.accounts.mesh)?;
        let control = directory.join("control.sock");
        let mut process =
            Launch::new("swarm", super::super::this_program(stage)?, &stage.accounts.mesh)
                .args(["swarm", "--control"])
                .arg(&control)
                .start(stage)?;
        let stream = until("the swarm", PATIENCE, async || {
            process.alive()?;
            Ok(UnixStream::connect(&control).await?)
        });
        let (answers, orders) = stream.await?.into_split();
        Ok(Self { process, answers: BufReader::new(answers), orders })
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Gives an order and waits until it is carried out.
    pub(crate) async fn told(&mut self, order: &Order) -> Result<Seen> {
        let order = serde_json::to_string(order)? + "\n";
        self.orders.write_all(order.as_bytes()).await.context("the swarm is gone")?;
        let mut answer = String::new();
        if self.answers.read_line(&mut answer).await? == 0 {
            self.process.alive()?;
            bail!("the swarm hung up");
        }
        Ok(serde_json::from_str(&answer)?)
    }
}
