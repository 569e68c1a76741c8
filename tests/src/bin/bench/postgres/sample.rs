//! One measurement of one case, and its median over rounds.

use serde_json::{Value, json};

use super::pgbench::Seen;
use crate::figures::{as_float, median, rounded};

/// What one case did in one round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) tps: f64,
    /// Of a transaction, with its connecting where each has a connection of its own.
    pub(super) mean_ms: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// CPU of the proxies per transaction; none where there is no proxy.
    pub(super) proxy_us: Option<f64>,
    /// Cores that other processes kept busy meanwhile.
    pub(super) others_cores: f64,
}

impl Sample {
    /// `proxy` is the CPU time in nanoseconds that was spent while the clients saw that.
    pub(super) fn of(seen: &Seen, proxy: Option<u64>, others: f64) -> Self {
        let cycles = &seen.cycles;
        let quantile = |part: usize| {
            cycles.get(cycles.len().saturating_sub(1) * part / 100).copied().unwrap_or(f64::NAN)
        };
        Self {
            tps: seen.tps,
            mean_ms: cycles.iter().sum::<f64>() / as_float(cycles.len() as u64),
            p50_ms: quantile(50),
            p99_ms: quantile(99),
            proxy_us: proxy.map(|spent| as_float(spent) / 1e3 / as_float(seen.transactions)),
            others_cores: others,
        }
    }

    /// The median of each figure by itself.
    pub(super) fn median(samples: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(samples.iter().map(figure));
        let proxy_us = median(samples.iter().filter_map(|sample| sample.proxy_us));
        Self {
            tps: of(|sample| sample.tps),
            mean_ms: of(|sample| sample.mean_ms),
            p50_ms: of(|sample| sample.p50_ms),
            p99_ms: of(|sample| sample.p99_ms),
            proxy_us: Some(proxy_us).filter(|spent| spent.is_finite()),
            others_cores: of(|sample| sample.others_cores),
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "tps": rounded(self.tps),
            "mean_ms": rounded(self.mean_ms),
            "p50_ms": rounded(self.p50_ms),
            "p99_ms": rounded(self.p99_ms),
            "proxy_cpu_us_per_transaction": self.proxy_us.map(rounded),
            "others_cores": rounded(self.others_cores),
        })
    }
}
