//! One SPIRE server and agent, and two pairs of Envoys: one asks the agent itself, one asks ours.

use std::path::PathBuf;

use anyhow::Result;
use e2e::{Entry, Pair, PairPlan, SdsServer, Spire, Stage, Workload, sds::SdsClient};

/// Long enough to survive a restart, short enough to be renewed in a test; in seconds.
const SVID_TTL: u32 = 40;

/// Everything that runs.
#[derive(Debug)]
pub(crate) struct Scene {
    /// The Envoys that ask SPIRE's agent.
    pub(crate) at_spire: Pair,
    /// The Envoys that ask ours.
    pub(crate) at_ours: Pair,
    /// Ours, for the Envoy that answers and for the one that asks.
    pub(crate) servers: [SdsServer; 2],
    pub(crate) spire: Spire,
    pub(crate) stage: Stage,
}

impl Scene {
    pub(crate) async fn set() -> Result<Self> {
        let stage = Stage::set(None)?;
        let spire = Spire::start(&stage, SVID_TTL).await?;
        let envoy = stage.within_reach(&stage.programs.envoy()?)?;
        for workload in [Workload::Api, Workload::Client] {
            stage.link(&envoy, &program(&stage, workload, "envoy"))?;
        }
        let entries: Vec<_> = [Workload::Api, Workload::Client]
            .map(|workload| Entry::new(workload, &program(&stage, workload, "envoy"), SVID_TTL))
            .into();
        spire.create(&stage, &entries)?;
        let serve = |workload: Workload| {
            let program = program(&stage, workload, "sds-server");
            SdsServer::of_secrets(&stage, workload.name(), &program, &spire.socket(), "")
        };
        let servers = [serve(Workload::Api)?, serve(Workload::Client)?];
        let sockets = servers.each_ref().map(|server| SdsServer::socket(server.directory()));
        let [at_spire, at_ours] = [("spire", [spire.socket(), spire.socket()]), ("ours", sockets)]
            .map(|(name, [server, client])| {
                PairPlan::new(name, &server, &client)
                    .programs(
                        &program(&stage, Workload::Api, "envoy"),
                        &program(&stage, Workload::Client, "envoy"),
                    )
                    .start_unready(&stage)
            });
        let (mut at_spire, mut at_ours) = (at_spire?, at_ours?);
        at_ours.ready().await?;
        at_spire.ready().await?;
        Ok(Self { at_spire, at_ours, servers, spire, stage })
    }

    /// Both pairs, SPIRE's first.
    pub(crate) fn pairs(&self) -> [&Pair; 2] {
        [&self.at_spire, &self.at_ours]
    }

    /// The entries that make up the answering side: Envoy's own, which SPIRE's agent sees, and that
    /// of the server beside ours.
    pub(crate) fn answering(&self, svid_ttl: u32) -> [Entry; 2] {
        ["envoy", "sds-server"].map(|name| {
            Entry::new(Workload::Api, &program(&self.stage, Workload::Api, name), svid_ttl)
        })
    }

    /// Changes something in both answering entries, so that both get a new SVID.
    pub(crate) fn renew(&self, svid_ttl: u32, dns_name: &str) -> Result<()> {
        let entries = self.answering(svid_ttl).map(|entry| entry.dns(dns_name));
        self.spire.update(&self.stage, &entries)
    }

    /// A client of either side by hand. For SPIRE's agent it is this very program.
    pub(crate) async fn clients(&self) -> Result<[SdsClient; 2]> {
        Ok([
            SdsClient::connect(&self.spire.socket()).await?,
            SdsClient::connect(&SdsServer::socket(self.servers[0].directory())).await?,
        ])
    }
}

/// The entry that makes this program the answering workload.
pub(crate) fn by_hand(svid_ttl: u32) -> Result<Entry> {
    let this = std::env::current_exe()?;
    let entry = Entry::new(Workload::Api, &this, svid_ttl);
    Ok(Entry { id: "by-hand".to_owned(), ..entry })
}

fn program(stage: &Stage, workload: Workload, name: &str) -> PathBuf {
    Spire::program(stage, workload, name)
}
