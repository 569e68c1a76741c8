//! Point 5: SVIDs rotate under a small load.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use super::{Load, Tally};
use crate::{Mesh, Workload, tls::presented_by, until};

/// Half the life of an SVID, a replaced connection, and a busy machine.
const A_ROTATION: Duration = Duration::from_secs(100);

/// How long the load runs without a word.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// What was seen from the first certificate to the last.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// How the load went.
    pub tally: Tally,
    /// The serial numbers that each workload's Envoy presented to others.
    pub serials: BTreeMap<Workload, BTreeSet<String>>,
}

impl Rotation {
    /// The least number of certificates that any workload presented.
    pub fn fewest(&self) -> usize {
        self.serials.values().map(BTreeSet::len).min().unwrap_or(0)
    }
}

/// Rotates `times` times while a load runs, and waits until every workload presented the new
/// certificate each time. `tell` hears of each rotation.
pub async fn rotates_under_load(mesh: &Mesh, times: usize, tell: fn(&str)) -> Result<Rotation> {
    let before = [Workload::Api, Workload::Db].map(|called| {
        let lines = mesh.sidecar(called).envoy.access_log().len();
        (called, lines)
    });
    let load = Load::start(mesh);
    let mut serials: BTreeMap<Workload, BTreeSet<String>> = BTreeMap::new();
    for wanted in 1..=times + 1 {
        if wanted > 1 {
            mesh.source.rotate(&mesh.stage)?;
        }
        let start = Instant::now();
        let mut told = start;
        until("every workload presents a new certificate", A_ROTATION, async || {
            observe(mesh, before, &mut serials).await?;
            if told.elapsed() > TOLD_EVERY {
                told = Instant::now();
                let count = |workload| serials.get(&workload).map_or(0, BTreeSet::len);
                let [client, api, report, db] = Workload::ALL.map(count);
                let requests = load.done();
                tell(&format!(
                    "{requests} requests; certificates so far: client {client}, api {api}, report {report}, db {db}"
                ));
            }
            for (workload, seen) in &serials {
                ensure!(seen.len() >= wanted, "{} presented {}", workload.name(), seen.len());
            }
            ensure!(serials.len() == Workload::ALL.len(), "{} workloads", serials.len());
            Ok(())
        })
        .await?;
        if wanted > 1 {
            let seconds = start.elapsed().as_secs_f32();
            tell(&format!(
                "rotation {} of {times}: all four certificates are new, {seconds:.1} s",
                wanted - 1
            ));
        }
    }
    Ok(Rotation { tally: load.stop().await?, serials })
}

/// Servers show their certificates to anybody; those of callers stand in the log of whom they
/// call, after the lines that were there `before`.
async fn observe(
    mesh: &Mesh,
    before: [(Workload, usize); 2],
    serials: &mut BTreeMap<Workload, BTreeSet<String>>,
) -> Result<()> {
    for ((called, seen), caller) in before.into_iter().zip([Workload::Client, Workload::Report]) {
        let leaf = presented_by(mesh.ingress(called)).await?;
        serials.entry(called).or_default().insert(leaf.serial);
        let id = caller.spiffe_id();
        let lines = mesh.sidecar(called).envoy.access_log();
        let logged = lines.iter().skip(seen).filter(|line| line["spiffe_id"] == id.as_str());
        let found = logged.filter_map(|line| line["serial"].as_str().map(str::to_owned));
        serials.entry(caller).or_default().extend(found);
    }
    Ok(())
}
