//! One measurement of one case, and medians over rounds.

use serde_json::{Value, json};

use crate::{cpu::Cpu, load::Seen};

/// What one case did in one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) requests_per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// CPU of the whole Envoy process.
    pub(crate) cpu_us_per_request: f64,
    /// CPU seconds of Envoy per second: near 1, its one worker is the bottleneck.
    pub(crate) envoy_cores: f64,
    /// CPU seconds of the bench per second: near 1, callers and upstream are the bottleneck.
    pub(crate) bench_cores: f64,
    pub(crate) rss_mib: f64,
}

impl Sample {
    /// `cpu` was spent while the callers saw that; `rss` in bytes.
    pub(crate) fn of(seen: &Seen, cpu: Cpu, rss: u64) -> Self {
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
        }
    }

    /// The median of each figure by itself.
    pub(crate) fn median(samples: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(samples.iter().map(figure));
        Self {
            requests_per_second: of(|sample| sample.requests_per_second),
            p50_us: of(|sample| sample.p50_us),
            p99_us: of(|sample| sample.p99_us),
            cpu_us_per_request: of(|sample| sample.cpu_us_per_request),
            envoy_cores: of(|sample| sample.envoy_cores),
            bench_cores: of(|sample| sample.bench_cores),
            rss_mib: of(|sample| sample.rss_mib),
        }
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "requests_per_second": rounded(self.requests_per_second),
            "p50_us": rounded(self.p50_us),
            "p99_us": rounded(self.p99_us),
            "cpu_us_per_request": rounded(self.cpu_us_per_request),
            "envoy_cores": rounded(self.envoy_cores),
            "bench_cores": rounded(self.bench_cores),
            "envoy_rss_mib": rounded(self.rss_mib),
        })
    }
}

/// The middle value, or the mean of the two in the middle; NaN of nothing.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match (values.len() % 2, values.get(half)) {
        (1, Some(middle)) => *middle,
        (0, Some(above)) => f64::midpoint(values[half - 1], *above),
        _ => f64::NAN,
    }
}

/// Three decimals: more would pretend.
pub(crate) fn rounded(figure: f64) -> f64 {
    (figure * 1e3).round() / 1e3
}

/// A count as a figure.
#[expect(clippy::cast_precision_loss, reason = "no count here comes near 2^52")]
pub(crate) fn as_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_in_the_middle() {
        assert!(median([].into_iter()).is_nan());
        for (values, middle) in [
            (&[3.0][..], 3.0),
            (&[9.0, 1.0], 5.0),
            (&[9.0, 1.0, 2.0], 2.0),
            (&[4.0, 1.0, 2.0, 9.0], 3.0),
        ] {
            assert!((median(values.iter().copied()) - middle).abs() < 1e-9, "{values:?}");
        }
    }
}
