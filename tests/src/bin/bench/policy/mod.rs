//! `bench policy`: our HTTP filter against no filter, Envoy's RBAC, Lua, and an empty Wasm filter; and what the command line
//! takes over many rules.
//!
//! Each round measures every case, one after the other, so that whatever changes on the machine meanwhile meets them all;
//! and each time with a new Envoy, since one process differs from the next for its whole life, by as much as a filter costs.

mod aims;
mod cases;
mod commands;
mod cpu;
mod load;
mod plot;
mod proxy;
mod report;
mod rules;
mod sample;
mod steps;
mod table;
mod upstream;

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use e2e::{DevAgent, FetchedSvid, Stage, Workload, http::Ask, tls::TlsCaller, usage};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    PolicyOptions,
    machine::{self, Machine, Versions},
    neighbours::Neighbours,
};
use cases::{Case, Modules};
use commands::Commands;
use cpu::Cpu;
use load::Load;
use proxy::{Minted, Proxy, WasmStart};
use report::Report;
use sample::Sample;
use steps::Step;
use upstream::{ECHO, Upstream};

/// The life of the SVIDs in seconds: longer than any run.
const SVID_TTL: u32 = 24 * 3600;

/// How long each case is measured, and how often.
#[derive(Clone, Copy, Debug)]
struct Pace {
    rounds: u32,
    warming: Duration,
    measuring: Duration,
}

/// A case with its filters, and what it has done so far.
#[derive(Debug)]
struct Contender {
    case: Case,
    filters: Vec<Value>,
    samples: Vec<Sample>,
    wasm: Vec<WasmFigures>,
}

/// What all cases have in common.
#[derive(Debug)]
struct Ring {
    stage: Stage,
    client: TlsCaller,
    stranger: TlsCaller,
    server: Minted,
    upstream: PathBuf,
    pace: Pace,
}

/// A case and its figures.
#[derive(Debug)]
struct Figures {
    case: Case,
    samples: Vec<Sample>,
    median: Sample,
    wasm: Option<WasmFigures>,
}

/// What only a Wasm filter has.
#[derive(Clone, Copy, Debug)]
struct WasmFigures {
    start: WasmStart,
    /// The linear memory of one VM, in bytes.
    memory: u64,
}

/// Measures, prints, and writes what the options say.
pub(crate) async fn run(options: &PolicyOptions) -> Result<()> {
    let machine = Machine::this()?;
    println!("machine: {}", machine.line());
    let pace = Pace::of(options);
    let stage = Stage::set(None)?;
    let modules = Files::lay_out(&stage)?;
    let digest = hex::encode(Sha256::digest(fs::read(&modules.ours)?));
    let versions = Versions::of(&stage.programs)?
        .with("envoy", machine::envoy(&stage.programs)?)
        .with("spiffe_authz_sha256", digest);
    println!("versions: {}", versions.line());
    let [client, stranger, server] = certificates(&stage).await?;
    let socket = stage.directory("api", &stage.accounts.mesh)?.join("api.sock");
    let _upstream = Upstream::listen(&socket)?;

    let mut commands = Commands::lay_out(
        &stage.programs,
        &stage.directory("commands", &stage.accounts.harness)?,
        &options.common.cases,
        options.common.smoke,
    )?;
    let mut contenders: Vec<Contender> = chosen(&options.common.cases)?
        .into_iter()
        .map(|case| Contender::new(case, &modules))
        .collect();
    let (client, stranger) = (caller(&client)?, caller(&stranger)?);
    let ring = Ring { stage, client, stranger, server, upstream: socket, pace };
    for round in 1..=pace.rounds {
        println!("round {round} of {}", pace.rounds);
        for contender in &mut contenders {
            let case = contender.case;
            contender.compete(&ring).await.with_context(|| format!("case {}", case.key()))?;
        }
        commands.compete()?;
    }
    let figures: Vec<Figures> = contenders.into_iter().map(Contender::figures).collect();
    let report = Report {
        machine: &machine,
        versions: &versions,
        pace,
        module_bytes: fs::metadata(&modules.ours)?.len(),
        figures: &figures,
        commands: &commands,
    };
    report.write(&options.common)
}

/// The cases by these keys, or all.
fn chosen(keys: &[String]) -> Result<Vec<Case>> {
    let mut known = Case::ALL.map(Case::key).to_vec();
    known.extend(Commands::keys().map(str::to_owned));
    if let Some(unknown) = keys.iter().find(|key| !known.contains(key)) {
        bail!("there is no case {unknown}; there are {}", known.join(", "));
    }
    let is_chosen = |case: &Case| keys.is_empty() || keys.contains(&case.key());
    Ok(Case::ALL.into_iter().filter(is_chosen).collect())
}

impl Pace {
    fn of(options: &PolicyOptions) -> Self {
        if options.common.smoke {
            let blink = Duration::from_millis(100);
            return Self { rounds: 1, warming: blink, measuring: blink };
        }
        Self {
            rounds: options.common.rounds,
            // Each time with a new Envoy: its memory and the processor's caches have to fill.
            warming: Duration::from_secs(1),
            measuring: Duration::from_secs_f64(options.seconds),
        }
    }
}

impl Contender {
    fn new(case: Case, modules: &Files) -> Self {
        let filters = case.filters(&modules.borrowed());
        Self { case, filters, samples: Vec::new(), wasm: Vec::new() }
    }

    /// Measures a new Envoy once.
    async fn compete(&mut self, ring: &Ring) -> Result<()> {
        let Ring { stage, client, stranger, server, upstream, pace } = ring;
        let case = self.case;
        let name = format!("{}-{}", case.key(), self.samples.len() + 1);
        let proxy = Proxy::start(stage, &name, &self.filters, server, upstream).await?;
        answers_right(case, &proxy, client, stranger).await?;
        let mut load = Load::start(client, proxy.address(), &case.asked()).await?;
        load.go_on(pace.warming).await?;
        let neighbours = Neighbours::look()?;
        let before = Cpu::of(&proxy)?;
        load.measure();
        load.go_on(pace.measuring).await?;
        let spent = Cpu::of(&proxy)?.since(before);
        let others = neighbours.since()?;
        let seen = load.finish().await?;
        ensure!(!seen.latencies.is_empty(), "no request was answered in time");
        let sample = Sample::of(&seen, spent, usage::rss(proxy.id())?, others);
        println!(
            "  {:<62} {:>8.0}/s  p50 {:>7.0} µs  p99 {:>7.0} µs  CPU {:>6.1} µs  Envoy {:>3.0} %, we {:>3.0} %",
            case.title(),
            sample.requests_per_second,
            sample.p50_us,
            sample.p99_us,
            sample.cpu_us_per_request,
            sample.envoy_cores * 100.0,
            sample.bench_cores * 100.0,
        );
        self.samples.push(sample);
        if let Some(start) = proxy.wasm() {
            self.wasm.push(WasmFigures { start, memory: proxy.vm_memory()? });
        }
        proxy.end()
    }

    fn figures(self) -> Figures {
        let Self { case, samples, wasm, .. } = self;
        Figures {
            case,
            median: Sample::median(&samples),
            samples,
            wasm: WasmFigures::median(&wasm),
        }
    }
}

impl WasmFigures {
    /// The median of each figure by itself; none without any.
    fn median(all: &[Self]) -> Option<Self> {
        let middle = |figure: fn(&Self) -> Duration| {
            let mut figures: Vec<Duration> = all.iter().map(figure).collect();
            figures.sort_unstable();
            figures.get(figures.len() / 2).copied()
        };
        let compiled = middle(|figures| figures.start.compiled)?;
        let configured = middle(|figures| figures.start.configured)?;
        let memory = all.iter().map(|figures| figures.memory).max()?;
        Some(Self { start: WasmStart { compiled, configured }, memory })
    }
}

/// One request that must come through, as it must, and one that must not.
async fn answers_right(
    case: Case,
    proxy: &Proxy,
    client: &TlsCaller,
    stranger: &TlsCaller,
) -> Result<()> {
    let asked = case.asked();
    let path = format!("{}{ECHO}", asked.first().context("a case without requests")?);
    let stream = client.connect(proxy.address()).await?.stream;
    // What a client says about itself must not reach the API beside what the filter says.
    let ask = Ask::get(&path).header("x-db-role", "forged");
    let reply = ask.on(stream).await?;
    ensure!(reply.status == 200, "{path}: {} {}", reply.status, reply.body.trim());
    for (name, value) in case.told() {
        let lines =
            reply.body.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let found: Vec<&str> = lines.collect();
        ensure!(found == [value.as_str()], "the API is told {name}: {found:?} instead of {value}");
    }
    let stream = stranger.connect(proxy.address()).await?.stream;
    let reply = Ask::get("/nothing/for/strangers").on(stream).await?;
    let expected = if case.decides() { 403 } else { 200 };
    if reply.status != expected {
        bail!("a stranger gets {} instead of {expected}", reply.status);
    }
    Ok(())
}

/// SVIDs of the caller, of somebody who may nothing, and of Envoy itself.
async fn certificates(stage: &Stage) -> Result<[Minted; 3]> {
    let agent = DevAgent::start(stage, SVID_TTL).await?;
    let mint = |workload: Workload| {
        let out = stage.directory("svids", &stage.accounts.mesh)?.join(workload.name());
        let path = out.to_str().context("the temporary directory is not UTF-8")?;
        agent.control(stage, &["mint", "--workload", workload.name(), "--out", path])?;
        anyhow::Ok(Minted(out))
    };
    Ok([mint(Workload::Client)?, mint(Workload::Report)?, mint(Workload::Api)?])
}

fn caller(minted: &Minted) -> Result<TlsCaller> {
    let svid = FetchedSvid::from_pem(&minted.chain(), &minted.key())?;
    TlsCaller::new(Some(&svid), "http/1.1")
}

/// The Wasm modules where Envoy's account can read them.
#[derive(Debug)]
struct Files {
    ours: PathBuf,
    steps: PathBuf,
}

impl Files {
    fn lay_out(stage: &Stage) -> Result<Self> {
        let ours = stage.within_reach(&stage.programs.filter("spiffe_authz")?)?;
        let steps = stage.directory("steps", &stage.accounts.mesh)?;
        for step in Step::ALL {
            fs::write(steps.join(format!("{}.wasm", step.key())), step.module()?)?;
        }
        Ok(Self { ours, steps })
    }

    fn borrowed(&self) -> Modules<'_> {
        Modules { ours: &self.ours, steps: &self.steps }
    }
}
