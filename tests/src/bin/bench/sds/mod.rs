//! `bench sds`: our SDS server against SPIRE agent's own, and beside both the least that tonic makes.
//!
//! All stand on the same SPIRE server. In each round every load meets every server in turn, each
//! started afresh: its memory is looked at idle, with all streams open and after pushes; a push is a
//! renewal of the one SVID; then all connections are dropped and opened again at once.

mod aims;
mod cases;
mod measure;
mod node;
mod plot;
mod report;
mod sample;
mod servers;
mod spire;
mod swarm;
mod table;
mod wire;
mod yardstick;

use std::{env, fs, path::PathBuf};

use anyhow::{Context, Result, bail};
use e2e::Stage;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    Options,
    machine::{self, Machine, Versions},
};
use cases::Case;
use measure::Ring;
use report::Report;
use sample::Figures;
use spire::Spire;
use swarm::Swarm;

pub(crate) use swarm::{Options as SwarmOptions, run as swarm};
pub(crate) use yardstick::{Options as YardstickOptions, run as yardstick};

/// Renewals of the SVID in each case and round.
const PUSHES: u32 = 5;

/// Measures, tells on stderr how far it is, and writes what the options say.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let machine = Machine::this()?;
    eprintln!("machine: {}", machine.line());
    raise_open_files()?;
    let stage = Stage::set(None)?;
    let envoy = machine::envoy(&stage.programs)?;
    let versions = Versions::of(&stage.programs)?
        .with("envoy", envoy.clone())
        .with("spire", machine::spire_agent(&stage.programs)?);
    eprintln!("versions: {}", versions.line());
    let node = node::recorded(&stage, &options.results, &envoy).await?;
    let node_bytes = node.len();
    let write = |name: &str, node: &[u8]| -> Result<PathBuf> {
        let path = stage.path().join(name);
        fs::write(&path, node).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    };
    let mut ring = Ring {
        stage: &stage,
        spire: Spire::start(&stage).await?,
        swarm: Swarm::start(&stage).await?,
        bare: write("bare.bin", &node::bare())?,
        envoy: write("envoy.bin", &node)?,
        pushes: if options.smoke { 1 } else { PUSHES },
    };
    let mut figures: Vec<Figures> =
        chosen(options)?.into_iter().map(|case| Figures { case, samples: Vec::new() }).collect();
    let rounds = if options.smoke { 1 } else { options.rounds };
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        for Figures { case, samples } in &mut figures {
            let sample = ring.measure(*case).await;
            let sample = sample.with_context(|| format!("case {}", case.key()))?;
            eprintln!("  {:<50} {}", case.title(), sample.line());
            samples.push(sample);
        }
    }
    let pushes = ring.pushes;
    let report = Report {
        machine: &machine,
        versions: &versions,
        rounds,
        pushes,
        node_bytes,
        figures: &figures,
    };
    report.write(options)
}

/// The cases by these keys, or all.
fn chosen(options: &Options) -> Result<Vec<Case>> {
    let all = if options.smoke { Case::smoke() } else { Case::all() };
    if let Some(unknown) =
        options.cases.iter().find(|key| all.iter().all(|case| case.key() != **key))
    {
        let known: Vec<String> = all.iter().map(|case| case.key()).collect();
        bail!("there is no case {unknown}; there are {}", known.join(", "));
    }
    let is_chosen = |case: &Case| options.cases.is_empty() || options.cases.contains(&case.key());
    Ok(all.into_iter().filter(is_chosen).collect())
}

/// Thousands of connections need as many open files, in the children too.
fn raise_open_files() -> Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .context("cannot raise the number of open files")
}

/// This very program, where every account can run it.
fn this_program(stage: &Stage) -> Result<PathBuf> {
    stage.within_reach(&env::current_exe().context("cannot tell where this program lies")?)
}
