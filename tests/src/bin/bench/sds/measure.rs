//! One case in one round: open, push, storm.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, ensure};
use e2e::{PATIENCE, Stage, until, usage};
use tokio::time::sleep;

use super::{
    cases::{Case, Node},
    sample::{Push, Sample, Storm, mib, milliseconds},
    servers::Running,
    spire::Spire,
    swarm::{Order, Seen, Streams, Swarm},
};
use crate::neighbours::Neighbours;

/// How many wait for their first secret at once while streams are opened. SPIRE's agent deadlocks
/// when a thousand do.
const RAMP: usize = 16;
/// A renewal takes SPIRE a second or two to notice; nothing at all for this long is a server stuck.
const STUCK: Duration = Duration::from_secs(15);
/// What a server still does after the last secret belongs to the round.
const AFTERMATH: Duration = Duration::from_millis(200);

/// What every case needs.
#[derive(Debug)]
pub(super) struct Ring<'a> {
    pub(super) stage: &'a Stage,
    pub(super) spire: Spire,
    pub(super) swarm: Swarm,
    /// The files of the nodes.
    pub(super) bare: PathBuf,
    pub(super) envoy: PathBuf,
    /// Renewals of the SVID in a case.
    pub(super) pushes: u32,
}

impl Ring<'_> {
    /// Runs one case. What a server fails at is part of the sample.
    pub(super) async fn measure(&mut self, case: Case) -> Result<Sample> {
        let neighbours = Neighbours::look()?;
        let mut server = Running::start(self.stage, &mut self.spire, case.server).await?;
        let socket = server.socket.clone();
        until("a first secret", PATIENCE, async || {
            server.alive()?;
            ensure!(self.answers(&socket).await?, "none yet");
            Ok(())
        })
        .await?;
        let mut sample = Sample { idle_mib: mib(usage::rss(server.id)?), ..Sample::default() };

        let opened = self.open(case, &socket, RAMP).await?;
        sleep(AFTERMATH).await;
        sample.first_secret_ms = milliseconds(opened.median_wait);
        sample.open_mib = mib(usage::rss(server.id)?);
        sample.note("open", case, &opened);

        for _ in 0..self.pushes {
            if sample.trouble.is_some() {
                break;
            }
            let (push, seen) = self.push(server.id).await?;
            sample.note("push", case, &seen);
            sample.pushes.push(push);
        }
        sample.end_mib = mib(usage::rss(server.id)?);

        if sample.trouble.is_none() {
            sample.storm = Some(self.storm(case, &server).await?);
        }
        self.swarm.told(&Order::Close).await?;
        server.alive()?;
        sample.others_cores = neighbours.since()?;
        Ok(sample)
    }

    async fn open(&mut self, case: Case, socket: &Path, at_once: usize) -> Result<Seen> {
        let node = match case.node {
            Node::Bare => &self.bare,
            Node::Envoy => &self.envoy,
        };
        let streams = Streams {
            socket: socket.to_owned(),
            count: case.streams,
            connections: case.connections,
            node: node.clone(),
            at_once,
            patience: STUCK,
        };
        self.swarm.told(&Order::Open(streams)).await
    }

    /// True if a single stream gets a secret. Closes what was open.
    async fn answers(&mut self, socket: &Path) -> Result<bool> {
        self.swarm.told(&Order::Close).await?;
        let stream = Streams {
            socket: socket.to_owned(),
            count: 1,
            connections: 1,
            node: self.bare.clone(),
            at_once: 1,
            patience: STUCK / 3,
        };
        let seen = self.swarm.told(&Order::Open(stream)).await?;
        self.swarm.told(&Order::Close).await?;
        Ok(seen.served == 1)
    }

    async fn push(&mut self, server: u32) -> Result<(Push, Seen)> {
        let neighbours = Neighbours::look()?;
        let agent = self.spire.agent()?;
        self.swarm.told(&Order::Expect).await?;
        let processes = [server, self.swarm.id(), agent];
        let before = processes.map(usage::cpu);
        self.spire.renew(self.stage)?;
        let seen = self.swarm.told(&Order::Await(STUCK)).await?;
        sleep(AFTERMATH).await;
        let mut spent = [0.0; 3];
        for ((spent, process), before) in spent.iter_mut().zip(processes).zip(before) {
            let nanoseconds = usage::cpu(process)?.saturating_sub(before?);
            *spent = milliseconds(Duration::from_nanos(nanoseconds));
        }
        let [cpu_ms, swarm_cpu_ms, agent_cpu_ms] = spent;
        let push = Push {
            cpu_ms,
            swarm_cpu_ms,
            agent_cpu_ms,
            first_to_last_ms: milliseconds(seen.last.saturating_sub(seen.first)),
            responses: seen.responses,
            others_cores: neighbours.since()?,
        };
        Ok((push, seen))
    }

    /// All connections are dropped and opened again at once.
    async fn storm(&mut self, case: Case, server: &Running) -> Result<Storm> {
        self.swarm.told(&Order::Close).await?;
        let before = usage::cpu(server.id)?;
        let seen = self.open(case, &server.socket, case.streams).await?;
        let spent = usage::cpu(server.id)?.saturating_sub(before);
        let is_whole = seen.served == case.streams && seen.trouble.is_none();
        let agent = self.spire.socket();
        Ok(Storm {
            last_ms: is_whole.then(|| milliseconds(seen.last)),
            served: seen.served,
            cpu_ms: milliseconds(Duration::from_nanos(spent)),
            trouble: seen.trouble,
            agent_survives: self.answers(&agent).await?,
        })
    }
}
