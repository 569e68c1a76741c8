//! What one case did in one round, and medians over rounds.

use std::time::Duration;

use serde_json::{Value, json};

use super::{cases::Case, swarm::Seen};
use crate::figures::{as_float, median, rounded};

/// One round.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    /// How long a stream waited for its first secret while few were opened at a time, in the middle.
    pub(super) first_secret_ms: f64,
    /// Resident memory before the streams, with them, and after the pushes.
    pub(super) idle_mib: f64,
    pub(super) open_mib: f64,
    pub(super) end_mib: f64,
    pub(super) pushes: Vec<Push>,
    /// None where it did not come to that.
    pub(super) storm: Option<Storm>,
    /// Cores that other processes kept busy meanwhile.
    pub(super) others_cores: f64,
    /// What went wrong before the storm, if anything did.
    pub(super) trouble: Option<String>,
}

/// A new SVID, sent to all streams.
#[derive(Clone, Debug)]
pub(super) struct Push {
    pub(super) cpu_ms: f64,
    /// The clients' own.
    pub(super) swarm_cpu_ms: f64,
    /// SPIRE agent's, which is the server itself where that is what is measured.
    pub(super) agent_cpu_ms: f64,
    pub(super) first_to_last_ms: f64,
    pub(super) responses: u64,
    pub(super) others_cores: f64,
}

/// All connections dropped and opened again at once.
#[derive(Clone, Debug)]
pub(super) struct Storm {
    /// None if some stream never got its secret.
    pub(super) last_ms: Option<f64>,
    pub(super) served: usize,
    pub(super) cpu_ms: f64,
    pub(super) trouble: Option<String>,
    /// Whether the agent answers a single stream afterwards.
    pub(super) agent_survives: bool,
}

impl Sample {
    /// Remembers what went wrong.
    pub(super) fn note(&mut self, phase: &str, case: Case, seen: &Seen) {
        let lacking = (seen.served < case.streams)
            .then(|| format!("{} of {} streams were served", seen.served, case.streams));
        let trouble = seen.trouble.clone().into_iter().chain(lacking).collect::<Vec<_>>();
        if self.trouble.is_none() && !trouble.is_empty() {
            self.trouble = Some(format!("{phase}: {}", trouble.join("; ")));
        }
    }

    /// In a line, for who waits.
    pub(super) fn line(&self) -> String {
        let of = |figure: fn(&Push) -> f64| median(self.pushes.iter().map(figure));
        let storm = match &self.storm {
            None => String::new(),
            Some(Storm { last_ms: Some(ms), .. }) => format!("storm {ms:>6.0} ms"),
            Some(storm) => format!("storm: {} served, then stuck", storm.served),
        };
        format!(
            "CPU {:>7.1} ms, first → last {:>6.1} ms, {:>4.0} → {:>4.0} → {:>4.0} MiB, {storm}{}",
            of(|push| push.cpu_ms),
            of(|push| push.first_to_last_ms),
            self.idle_mib,
            self.open_mib,
            self.end_mib,
            self.trouble.as_ref().map(|trouble| format!(" ({trouble})")).unwrap_or_default(),
        )
    }

    fn json(&self) -> Value {
        let push = |push: &Push| {
            json!({
                "cpu_ms": rounded(push.cpu_ms),
                "swarm_cpu_ms": rounded(push.swarm_cpu_ms),
                "agent_cpu_ms": rounded(push.agent_cpu_ms),
                "first_to_last_ms": rounded(push.first_to_last_ms),
                "responses": push.responses,
                "others_cores": rounded(push.others_cores),
            })
        };
        let storm = self.storm.as_ref().map(|storm| {
            json!({
                "last_ms": storm.last_ms.map(rounded),
                "served": storm.served,
                "cpu_ms": rounded(storm.cpu_ms),
                "trouble": storm.trouble,
                "agent_survives": storm.agent_survives,
            })
        });
        json!({
            "first_secret_ms": rounded(self.first_secret_ms),
            "rss_idle_mib": rounded(self.idle_mib),
            "rss_open_mib": rounded(self.open_mib),
            "rss_end_mib": rounded(self.end_mib),
            "pushes": self.pushes.iter().map(push).collect::<Vec<_>>(),
            "storm": storm,
            "others_cores": rounded(self.others_cores),
            "trouble": self.trouble,
        })
    }
}

/// A case and its figures over all rounds.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) case: Case,
    pub(super) samples: Vec<Sample>,
}

impl Figures {
    fn of(&self, figure: fn(&Sample) -> f64) -> f64 {
        median(self.samples.iter().map(figure))
    }

    /// Over all pushes of all rounds.
    fn of_pushes(&self, figure: fn(&Push) -> f64) -> f64 {
        median(self.samples.iter().flat_map(|sample| &sample.pushes).map(figure))
    }

    pub(super) fn first_secret_ms(&self) -> f64 {
        self.of(|sample| sample.first_secret_ms)
    }

    pub(super) fn rss_mib(&self) -> [f64; 3] {
        [self.of(|s| s.idle_mib), self.of(|s| s.open_mib), self.of(|s| s.end_mib)]
    }

    /// What a stream has added after the pushes.
    pub(super) fn kib_per_stream(&self) -> f64 {
        let added = self.of(|sample| sample.end_mib - sample.idle_mib);
        added * 1024.0 / as_float(self.case.streams as u64)
    }

    pub(super) fn cpu_ms(&self) -> f64 {
        self.of_pushes(|push| push.cpu_ms)
    }

    pub(super) fn swarm_cpu_ms(&self) -> f64 {
        self.of_pushes(|push| push.swarm_cpu_ms)
    }

    pub(super) fn agent_cpu_ms(&self) -> f64 {
        self.of_pushes(|push| push.agent_cpu_ms)
    }

    pub(super) fn first_to_last_ms(&self) -> f64 {
        self.of_pushes(|push| push.first_to_last_ms)
    }

    fn storms(&self) -> impl Iterator<Item = &Storm> {
        self.samples.iter().filter_map(|sample| sample.storm.as_ref())
    }

    /// Of the storms that ended.
    pub(super) fn storm_ms(&self) -> f64 {
        median(self.storms().filter_map(|storm| storm.last_ms))
    }

    pub(super) fn storm_cpu_ms(&self) -> f64 {
        median(self.storms().filter(|storm| storm.last_ms.is_some()).map(|storm| storm.cpu_ms))
    }

    /// Storms that never ended or left a dead agent behind, or what came before a storm and went wrong.
    pub(super) fn failures(&self) -> usize {
        let failed = |sample: &&Sample| {
            sample.storm.as_ref().is_none_or(|s| s.last_ms.is_none() || !s.agent_survives)
        };
        self.samples.iter().filter(failed).count()
    }

    pub(super) fn json(&self) -> Value {
        let [idle, open, end] = self.rss_mib().map(finite);
        json!({
            "case": self.case.key(),
            "title": self.case.title(),
            "streams": self.case.streams,
            "connections": self.case.connections,
            "median": {
                "first_secret_ms": finite(self.first_secret_ms()),
                "cpu_ms": finite(self.cpu_ms()),
                "swarm_cpu_ms": finite(self.swarm_cpu_ms()),
                "agent_cpu_ms": finite(self.agent_cpu_ms()),
                "first_to_last_ms": finite(self.first_to_last_ms()),
                "rss_idle_mib": idle,
                "rss_open_mib": open,
                "rss_end_mib": end,
                "kib_per_stream": finite(self.kib_per_stream()),
                "storm_ms": finite(self.storm_ms()),
                "storm_cpu_ms": finite(self.storm_cpu_ms()),
            },
            "failures": self.failures(),
            "rounds": self.samples.iter().map(Sample::json).collect::<Vec<_>>(),
        })
    }
}

/// What was not measured is null.
fn finite(figure: f64) -> Option<f64> {
    figure.is_finite().then(|| rounded(figure))
}

/// As a figure.
pub(super) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// As a figure.
pub(super) fn mib(bytes: u64) -> f64 {
    as_float(bytes) / 1024.0 / 1024.0
}
