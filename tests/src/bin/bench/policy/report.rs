//! The figures of a run, for machines and for people.

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    Figures, Pace, aims, commands::Commands, load::CONNECTIONS, plot, sample::Sample, table,
};
use crate::{
    Options,
    figures::{as_float, rounded},
    machine::{Machine, Versions},
    neighbours::Quiet,
    row::Row,
    written::publish,
};

/// All that is known at the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report<'a> {
    pub(super) machine: &'a Machine,
    pub(super) versions: &'a Versions,
    pub(super) pace: Pace,
    pub(super) module_bytes: u64,
    pub(super) figures: &'a [Figures],
    pub(super) commands: &'a Commands,
}

impl Report<'_> {
    /// Prints the aims, and writes `policy.json`, and `policy.md` and `policy.svg` where they are wanted.
    pub(super) fn write(&self, options: &Options) -> Result<()> {
        let mut rows = aims::rows(self.figures, self.module_bytes);
        rows.extend(self.commands.rows());
        publish(options, "policy", &rows, &self.json(&rows), || {
            (table::page(self, &rows), plot::requests_by_rules(self.figures))
        })
    }

    /// How much the machine had to do besides.
    pub(super) fn quiet(&self) -> Quiet {
        let samples = self.figures.iter().flat_map(|figures| &figures.samples);
        Quiet::of(samples.map(|sample| sample.others_cores))
    }

    fn json(&self, rows: &[Row]) -> Value {
        let Pace { rounds, warming, measuring } = self.pace;
        json!({
            "machine": self.machine.json(),
            "versions": self.versions.json(),
            "commit": self.versions.commit(),
            "method": {
                "rounds": rounds,
                "warming_seconds": warming.as_secs_f64(),
                "measured_seconds": measuring.as_secs_f64(),
                "connections": CONNECTIONS,
                "spiffe_authz_bytes": self.module_bytes,
            },
            "others": self.quiet().json(),
            "rows": rows.iter().map(Row::json).collect::<Vec<_>>(),
            "commands": self.commands.json(),
            "cases": self.figures.iter().map(Figures::json).collect::<Vec<_>>(),
        })
    }
}

impl Figures {
    fn json(&self) -> Value {
        let wasm = self.wasm.map(|wasm| {
            json!({
                "compiled_ms": rounded(wasm.start.compiled.as_secs_f64() * 1e3),
                "configured_ms": rounded(wasm.start.configured.as_secs_f64() * 1e3),
                "vm_memory_kib": rounded(as_float(wasm.memory) / 1024.0),
            })
        });
        json!({
            "case": self.case.key(),
            "title": self.case.title(),
            "median": self.median.json(),
            "wasm": wasm,
            "rounds": self.samples.iter().map(Sample::json).collect::<Vec<_>>(),
        })
    }
}
