//! Many streams in one process of its own, so that their CPU is counted apart.

mod board;
mod orders;
mod streams;

use std::{cell::RefCell, fs, path::PathBuf, rc::Rc, time::Duration};

use anyhow::{Context, Result};
use clap::Args;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixListener,
    sync::{Notify, Semaphore},
    task::{JoinSet, LocalSet},
    time::timeout,
};

use board::Board;
pub(super) use orders::{Order, Seen, Streams, Swarm};
use streams::{Common, connection};

/// How the bench reaches the swarm.
#[derive(Args)]
pub(crate) struct Options {
    /// The Unix socket on which the swarm takes orders
    #[arg(long)]
    control: PathBuf,
}

/// Carries out orders until nobody gives any more.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let listener = UnixListener::bind(&options.control)
        .with_context(|| format!("cannot listen on {}", options.control.display()))?;
    let (stream, _) = listener.accept().await?;
    let (orders, mut answers) = stream.into_split();
    let mut orders = BufReader::new(orders).lines();
    let work = async {
        let mut flock = Flock::empty();
        while let Some(order) = orders.next_line().await? {
            let seen = flock.obey(serde_json::from_str(&order)?).await?;
            let answer = serde_json::to_string(&seen)? + "\n";
            answers.write_all(answer.as_bytes()).await?;
        }
        Ok(())
    };
    LocalSet::new().run_until(work).await
}

/// The streams that are open.
struct Flock {
    common: Rc<Common>,
    connections: JoinSet<()>,
}

impl Flock {
    fn empty() -> Self {
        let common = Common {
            board: RefCell::new(Board::new(0)),
            changed: Notify::new(),
            places: Semaphore::new(0),
            node: bytes::Bytes::new(),
        };
        Self { common: Rc::new(common), connections: JoinSet::new() }
    }

    async fn obey(&mut self, order: Order) -> Result<Seen> {
        match order {
            Order::Open(streams) => {
                self.open(&streams)?;
                self.wait(streams.patience).await;
            }
            Order::Expect => self.common.board.borrow_mut().expect(),
            Order::Await(patience) => self.wait(patience).await,
            Order::Close => self.connections.shutdown().await,
        }
        Ok(self.common.board.borrow().seen())
    }

    fn open(&mut self, wanted: &Streams) -> Result<()> {
        let node = fs::read(&wanted.node)
            .with_context(|| format!("cannot read {}", wanted.node.display()))?;
        self.common = Rc::new(Common {
            board: RefCell::new(Board::new(wanted.count)),
            changed: Notify::new(),
            places: Semaphore::new(wanted.at_once),
            node: node.into(),
        });
        for first in 0..wanted.connections {
            let numbers = (first..wanted.count).step_by(wanted.connections).collect();
            let (common, socket) = (Rc::clone(&self.common), wanted.socket.as_path().into());
            self.connections.spawn_local(connection(common, socket, numbers));
        }
        Ok(())
    }

    /// Until every stream has what is awaited, one of them fails, or nothing arrives any more.
    async fn wait(&self, patience: Duration) {
        loop {
            let before = self.common.board.borrow().responses();
            let arriving = async {
                loop {
                    {
                        let board = self.common.board.borrow();
                        if board.has_failed() || board.is_complete() {
                            return true;
                        }
                    }
                    self.common.changed.notified().await;
                }
            };
            if let Ok(true) = timeout(patience, arriving).await {
                return;
            }
            if self.common.board.borrow().responses() == before {
                return;
            }
        }
    }
}
