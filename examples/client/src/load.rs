//! A small load: the same request again and again, on old connections and new ones.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::exchange::{Answer, Ask, Fault};
use crate::proxy::{Connection, Proxy};

/// How much is asked, and how.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// Ends after so many requests, if that comes first.
    pub(crate) requests: u64,
    /// Ends after this time, if that comes first.
    pub(crate) duration: Option<Duration>,
    /// Requests under way at once.
    pub(crate) concurrency: u16,
    /// Of a hundred requests, those that are made on a new connection.
    pub(crate) new_connections: u8,
    /// Requests begun per second; as many as go when absent.
    pub(crate) rate: Option<u32>,
}

/// What became of it.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct Report {
    pub(crate) requests: u64,
    /// Those not answered with 2xx.
    pub(crate) failed: u64,
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Where nothing came back, by what was wrong.
    pub(crate) faults: BTreeMap<String, u64>,
    /// Connections opened.
    pub(crate) connections: u64,
    pub(crate) seconds: f64,
    pub(crate) milliseconds: Latency,
}

/// From before a connection was opened, where one was, to the end of the body.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

/// What one worker saw.
#[derive(Default)]
struct Tally {
    report: Report,
    latencies: Vec<Duration>,
}

/// Asks until the load is done or `stop`.
pub(crate) async fn run(proxy: Proxy, ask: Ask, load: Load, stop: CancellationToken) -> Report {
    let begin = Instant::now();
    let tickets = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..load.concurrency {
        let work = work(
            proxy.clone(),
            ask.clone(),
            load.clone(),
            Arc::clone(&tickets),
            begin,
            stop.clone(),
        );
        workers.spawn(work);
    }
    let mut total = Tally::default();
    while let Some(worker) = workers.join_next().await {
        total.add(worker.expect("a worker does not panic"));
    }
    total.report.seconds = begin.elapsed().as_secs_f64();
    total.report.milliseconds = Latency::of(total.latencies);
    total.report
}

async fn work(
    proxy: Proxy,
    ask: Ask,
    load: Load,
    tickets: Arc<AtomicU64>,
    begin: Instant,
    stop: CancellationToken,
) -> Tally {
    let mut tally = Tally::default();
    let mut connection: Option<Connection> = None;
    loop {
        let ticket = tickets.fetch_add(1, Ordering::Relaxed);
        let due = begin + load.rate.map_or(Duration::ZERO, |rate| due_after(ticket, rate));
        if ticket >= load.requests
            || load.duration.is_some_and(|limit| due.max(Instant::now()) >= begin + limit)
        {
            return tally;
        }
        if stop.run_until_cancelled(tokio::time::sleep_until(due)).await.is_none()
            || stop.is_cancelled()
        {
            return tally;
        }
        if begins_new_connection(ticket, load.new_connections) {
            connection = None;
        }
        let asked = Instant::now();
        let outcome = async {
            let mut open = if let Some(open) = still_open(connection.take()).await {
                open
            } else {
                tally.report.connections += 1;
                proxy.connect().await?
            };
            let answer = ask.send(&mut open).await?;
            connection = Some(open);
            Ok(answer)
        };
        let outcome = outcome.await;
        tally.count(outcome, asked.elapsed());
    }
}

/// The connection, unless the proxy closed it while it was idle: that is no failure, since nothing was asked of it.
async fn still_open(connection: Option<Connection>) -> Option<Connection> {
    let mut connection = connection?;
    connection.ready().await.is_ok().then_some(connection)
}

/// When a request is due, if so many begin per second.
fn due_after(ticket: u64, rate: u32) -> Duration {
    Duration::from_nanos(ticket.saturating_mul(1_000_000_000 / u64::from(rate)))
}

/// Spreads the new connections evenly.
fn begins_new_connection(ticket: u64, percent: u8) -> bool {
    let percent = u64::from(percent);
    (ticket + 1) * percent / 100 > ticket * percent / 100
}

impl Tally {
    fn count(&mut self, outcome: Result<Answer, Fault>, latency: Duration) {
        self.report.requests += 1;
        self.latencies.push(latency);
        match outcome {
            Ok(answer) => {
                *self.report.statuses.entry(answer.status.as_u16()).or_default() += 1;
                self.report.failed += u64::from(!answer.status.is_success());
            }
            Err(fault) => {
                *self.report.faults.entry(fault.to_string()).or_default() += 1;
                self.report.failed += 1;
            }
        }
    }

    fn add(&mut self, other: Self) {
        self.report.requests += other.report.requests;
        self.report.failed += other.report.failed;
        self.report.connections += other.report.connections;
        for (status, count) in other.report.statuses {
            *self.report.statuses.entry(status).or_default() += count;
        }
        for (fault, count) in other.report.faults {
            *self.report.faults.entry(fault).or_default() += count;
        }
        self.latencies.extend(other.latencies);
    }
}

impl Latency {
    /// The smallest latency that so many of a hundred did not exceed.
    fn of(mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        let percentile = |percent: usize| {
            let rank = (latencies.len() * percent).div_ceil(100);
            latencies
                .get(rank.saturating_sub(1))
                .map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
        };
        Self { p50: percentile(50), p90: percentile(90), p99: percentile(99), max: percentile(100) }
    }
}

/// For people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, failed, connections, seconds, milliseconds, statuses, faults } = self;
        let Latency { p50, p99, max, .. } = milliseconds;
        write!(
            f,
            "{requests} requests on {connections} connections in {seconds:.1} s, {failed} failed; "
        )?;
        write!(f, "p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms")?;
        for (status, count) in statuses {
            write!(f, "\n  {status}: {count}")?;
        }
        for (fault, count) in faults {
            write!(f, "\n  {fault}: {count}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_connections_are_spread_evenly() {
        for (percent, expected) in [(0, 0), (10, 10), (33, 33), (100, 100)] {
            let begun = (0..100).filter(|ticket| begins_new_connection(*ticket, percent)).count();
            assert_eq!(begun, expected);
        }
        let tenth: Vec<u64> = (0..30).filter(|ticket| begins_new_connection(*ticket, 10)).collect();
        assert_eq!(tenth, [9, 19, 29]);
    }

    #[test]
    fn percentiles_are_latencies_that_were_seen() {
        let latencies = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(
            Latency::of(latencies),
            Latency { p50: 100.0, p90: 180.0, p99: 198.0, max: 200.0 }
        );
        assert_eq!(
            Latency::of(vec![Duration::from_millis(7)]),
            Latency { p50: 7.0, p90: 7.0, p99: 7.0, max: 7.0 }
        );
        assert_eq!(Latency::of(Vec::new()), Latency::default());
    }
}
