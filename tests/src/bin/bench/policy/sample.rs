//! One measurement of one case, and its median over rounds.

use serde_json::{Value, json};

use super::{cpu::Cpu, load::Seen};
use crate::figures::{as_float, median, rounded};

/// What one case did in one round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) requests_per_second: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    /// CPU of the whole Envoy process.
    pub(super) cpu_us_per_request: f64,
    /// CPU seconds of Envoy per second: near 1, its one worker is the bottleneck.
    pub(super) envoy_cores: f64,
    /// CPU seconds of the bench per second: near 1, callers and upstream are the bottleneck.
    pub(super) bench_cores: f64,
    pub(super) rss_mib: f64,
    /// Cores that other processes kept busy meanwhile.
    pub(super) others_cores: f64,
}

impl Sample {
    /// `cpu` was spent while the callers saw that; `rss` in bytes; others kept so
    /// many cores busy.
    pub(super) fn of(seen: &Seen, cpu: Cpu, rss: u64, others: f64) -> Self {
        let requests = as_float(seen.latencies.len() as u64);
        let seconds = seen.elapsed.as_secs_f64();
        let quantile = |part: usize| {
            let index = seen.latencies.len().saturating_sub(1) * part / 100;
            seen.latencies.get(index).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e6)
        };
        Self {
            requests_per_second: requests / seconds,
            p50_us: quantile(50),
            p99_us: quantile(99),
            cpu_us_per_request: as_float(cpu.envoy) / 1e3 / requests,
            envoy_cores: as_float(cpu.envoy) / 1e9 / seconds,
            bench_cores: as_float(cpu.bench) / 1e9 / seconds,
            rss_mib: as_float(rss) / 1024.0 / 1024.0,
            others_cores: others,
        }
    }

    /// The median of each figure by itself.
    pub(super) fn median(samples: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(samples.iter().map(figure));
        Self {
            requests_per_second: of(|sample| sample.requests_per_second),
            p50_us: of(|sample| sample.p50_us),
            p99_us: of(|sample| sample.p99_us),
            cpu_us_per_request: of(|sample| sample.cpu_us_per_request),
            envoy_cores: of(|sample| sample.envoy_cores),
            bench_cores: of(|sample| sample.bench_cores),
            rss_mib: of(|sample| sample.rss_mib),
            others_cores: of(|sample| sample.others_cores),
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "requests_per_second": rounded(self.requests_per_second),
            "p50_us": rounded(self.p50_us),
            "p99_us": rounded(self.p99_us),
            "cpu_us_per_request": rounded(self.cpu_us_per_request),
            "envoy_cores": rounded(self.envoy_cores),
            "bench_cores": rounded(self.bench_cores),
            "envoy_rss_mib": rounded(self.rss_mib),
            "others_cores": rounded(self.others_cores),
        })
    }
}
