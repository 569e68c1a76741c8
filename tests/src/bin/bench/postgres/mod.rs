//! `bench postgres`: what stands between a client and Postgres, and what it costs.
//!
//! One Postgres for all. Each round takes the routes one after the other under each load, so that whatever changes on the
//! machine meanwhile meets them all: in an order of its own, since who comes first finds another machine than who comes last,
//! and with new proxies, since one process differs from the next for its whole life.

mod aims;
mod bouncer;
mod cases;
mod certificates;
mod database;
mod envoys;
mod module;
mod pgbench;
mod plot;
mod report;
mod sample;
mod settings;
mod table;

use std::{fs, iter::repeat_n, time::Instant};

use anyhow::{Context, Result, bail};
use e2e::{PATIENCE, Process, Stage, until, usage};
use sha2::{Digest, Sha256};

use crate::{
    Options, PostgresOptions,
    machine::{self, Machine, Versions},
    neighbours::Neighbours,
};
use bouncer::Bouncer;
use cases::{Case, Filter, Load, Route};
use certificates::{Authority, Holder};
use database::{BENCH, Database, PASSWORDED};
use envoys::Ground;
use pgbench::{Length, Target};
use report::Report;
use sample::Sample;
use settings::Setting;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Pace {
    rounds: u32,
    /// Of a round, for what an aim compares: one turn differs from the next by more than the aims allow.
    compared_turns: usize,
    length: Length,
    /// `pgbench`'s: hundreds of thousands of accounts, and branches to update.
    scale: u32,
}

/// What all ways and rounds have in common.
struct Common {
    client: Holder,
    authority: Authority,
    ground: Ground,
    database: Database,
    /// Last, since it ends with the directories of the others.
    stage: Stage,
}

/// A way to Postgres, ready for use.
#[derive(Debug)]
struct Way {
    route: Route,
    target: Target,
    /// Whose CPU time counts; none on a direct way.
    proxies: Vec<Process>,
}

/// A case and its figures.
#[derive(Debug)]
struct Figures {
    case: Case,
    samples: Vec<Sample>,
    median: Sample,
}

/// Measures, prints, and writes what the options say.
pub(crate) async fn run(options: &PostgresOptions) -> Result<()> {
    let began = Instant::now();
    let machine = Machine::this()?;
    println!("machine: {}", machine.line());
    let pace = Pace::of(options);
    let cases = chosen(&options.common)?;
    let stage = Stage::set(None)?;
    let digest = hex::encode(Sha256::digest(fs::read(stage.programs.filter("pg_role")?)?));
    let versions = Versions::of(&stage.programs)?
        .with("postgres", machine::postgres(&stage.programs, database::VERSION)?)
        .with("envoy", machine::envoy(&stage.programs)?)
        .with("pgbouncer", bouncer::version()?)
        .with("pg_role_sha256", digest);
    println!("versions: {}", versions.line());

    let authority = Authority::new()?;
    let client = authority.issue(&stage, "client-tls", BENCH, &stage.accounts.mesh)?;
    let database = Database::start(&stage, &authority, pace.scale).await?;
    let ground = Ground::lay(&stage, &database).await?;
    let common = Common { client, authority, ground, database, stage };
    let mut samples: Vec<(Case, Vec<Sample>)> =
        cases.into_iter().map(|case| (case, Vec::new())).collect();
    for round in 1..=pace.rounds {
        println!("round {round} of {}, after {} s", pace.rounds, began.elapsed().as_secs());
        let ways = common.open(samples.iter().map(|(case, _)| case.route), round).await?;
        common.database.tidy(&common.stage)?;
        let mut order = fastrand::Rng::with_seed(round.into());
        for one_load in samples.chunk_by_mut(|(one, _), (next, _)| one.load == next.load) {
            let of_each =
                |(turn, (case, _)): (usize, &(Case, _))| repeat_n(turn, pace.turns(*case));
            let mut turns: Vec<usize> = one_load.iter().enumerate().flat_map(of_each).collect();
            order.shuffle(&mut turns);
            for turn in turns {
                let (case, samples) = one_load.get_mut(turn).context("no such case")?;
                let way = ways.iter().find(|way| way.route == case.route).context("no such way")?;
                let sample = way.measure(&common.stage, case.load, pace.length).await;
                samples.push(sample.with_context(|| format!("case {}", case.key()))?);
            }
        }
    }
    let figures: Vec<Figures> = samples
        .into_iter()
        .map(|(case, samples)| Figures { case, median: Sample::median(&samples), samples })
        .collect();
    Report { machine: &machine, versions: &versions, pace, figures: &figures }
        .write(&options.common)
}

/// The cases by these keys, or all.
fn chosen(options: &Options) -> Result<Vec<Case>> {
    let keys = &options.cases;
    if let Some(unknown) = keys.iter().find(|key| !Case::all().any(|case| case.is_named(key))) {
        let loads = Load::ALL.map(Load::key).join(", ");
        let settings = Setting::ALL.map(Route::Tuned).into_iter();
        let settings = settings.filter(|route| !Route::ALL.contains(route));
        let routes: Vec<&str> = Route::ALL.into_iter().chain(settings).map(Route::key).collect();
        let routes = routes.join(", ");
        bail!(
            "there is no case {unknown}; there are LOAD-ROUTE, LOAD and ROUTE, with the loads {loads} and the routes {routes}"
        );
    }
    let is_chosen = |case: &Case| keys.is_empty() || keys.iter().any(|key| case.is_named(key));
    Ok(Case::all().filter(is_chosen).collect())
}

impl Pace {
    /// How often a round measures a case.
    fn turns(self, case: Case) -> usize {
        if aims::compares(case) { self.compared_turns } else { 1 }
    }

    fn of(options: &PostgresOptions) -> Self {
        if options.common.smoke {
            let length = Length::Transactions(3);
            return Self { rounds: 1, compared_turns: 1, length, scale: 1 };
        }
        // More branches than clients, or these would wait for each other.
        let length = Length::Seconds(options.seconds);
        Self { rounds: options.common.rounds, compared_turns: 3, length, scale: 10 }
    }
}

impl Common {
    /// Starts what stands on these routes, and waits until Postgres answers through each.
    async fn open(&self, routes: impl Iterator<Item = Route>, round: u32) -> Result<Vec<Way>> {
        let mut ways: Vec<Way> = Vec::new();
        for route in routes {
            if !ways.iter().any(|way| way.route == route) {
                let way = self.way(route, round).await;
                ways.push(way.with_context(|| format!("route {}", route.key()))?);
            }
        }
        Ok(ways)
    }

    async fn way(&self, route: Route, round: u32) -> Result<Way> {
        let Self { client, authority, ground, database, stage } = self;
        let name = format!("{}-{round}", route.key());
        let direct = Target {
            host: stage.address.to_string(),
            port: database.port,
            user: BENCH,
            settings: vec![("PGSSLMODE", "disable".into())],
        };
        let certified = vec![
            ("PGSSLMODE", "verify-full".into()),
            ("PGSSLCERT", client.certificate.clone()),
            ("PGSSLKEY", client.key.clone()),
            ("PGSSLROOTCERT", client.authority.clone()),
        ];
        let (target, proxies) = match route {
            Route::Tcp => (direct, Vec::new()),
            Route::Password => {
                let mut target = Target { user: PASSWORDED, ..direct };
                target.settings.push(("PGPASSWORD", PASSWORDED.into()));
                (target, Vec::new())
            }
            Route::Tls => (Target { settings: certified, ..direct }, Vec::new()),
            Route::Envoys(filter) => {
                let envoys = ground.pair(stage, &name, filter, None).await?;
                (Target { host: envoys.host, port: envoys.port, ..direct }, envoys.ends.into())
            }
            Route::Tuned(setting) => {
                let pair = ground.pair(stage, &name, Filter::PgRole, Some(setting));
                let envoys = pair.await?;
                (Target { host: envoys.host, port: envoys.port, ..direct }, envoys.ends.into())
            }
            Route::PgBouncer => {
                let bouncer = Bouncer::start(stage, &name, database, authority)?;
                let target = Target { port: bouncer.port, settings: certified, ..direct };
                (target, vec![bouncer.process])
            }
        };
        until("an answer of Postgres", PATIENCE, async || {
            target.run(stage, Load::ALL[0], Length::Transactions(1)).await.map(drop)
        })
        .await?;
        Ok(Way { route, target, proxies })
    }
}

impl Way {
    async fn measure(&self, stage: &Stage, load: Load, length: Length) -> Result<Sample> {
        let (neighbours, before) = (Neighbours::look()?, self.spent()?);
        let seen = self.target.run(stage, load, length).await?;
        let spent = self.spent()?.saturating_sub(before);
        let spent = (!self.proxies.is_empty()).then_some(spent);
        let sample = Sample::of(&seen, spent, neighbours.since()?);
        println!(
            "  {:<52} {:<32} {:>8.0}/s  mean {:>7.2} ms  p99 {:>7.2} ms{}",
            load.title(),
            self.route.title(),
            sample.tps,
            sample.mean_ms,
            sample.p99_ms,
            sample.proxy_us.map_or(String::new(), |spent| format!("  proxies {spent:>6.0} µs")),
        );
        Ok(sample)
    }

    /// CPU time that the proxies have spent so far, in nanoseconds.
    fn spent(&self) -> Result<u64> {
        self.proxies.iter().map(|proxy| usage::cpu(proxy.id())).sum()
    }
}
