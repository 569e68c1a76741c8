//! The figures of a run, for machines and for people.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Figures, Pace, aims, pgbench::Length, plot, sample::Sample, table};
use crate::{
    Options,
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
    pub(super) figures: &'a [Figures],
}

impl Report<'_> {
    /// Prints the aims, and writes `postgres.json`, and `postgres.md` and `postgres.svg` where they are wanted.
    pub(super) fn write(&self, options: &Options) -> Result<()> {
        let rows = aims::rows(self.figures);
        publish(options, "postgres", &rows, &self.json(&rows), || {
            (table::page(self, &rows), plot::of_direct(self.figures))
        })
    }

    /// How much the machine had to do besides.
    pub(super) fn quiet(&self) -> Quiet {
        let samples = self.figures.iter().flat_map(|figures| &figures.samples);
        Quiet::of(samples.map(|sample| sample.others_cores))
    }

    fn json(&self, rows: &[Row]) -> Value {
        let Pace { rounds, compared_turns, length, scale } = self.pace;
        let (unit, length) = match length {
            Length::Seconds(seconds) => ("measured_seconds", seconds),
            Length::Transactions(count) => ("measured_transactions_per_client", count),
        };
        json!({
            "machine": self.machine.json(),
            "versions": self.versions.json(),
            "commit": self.versions.commit(),
            "method": {
                "rounds": rounds,
                "turns_of_compared_cases": compared_turns,
                unit: length,
                "pgbench_scale": scale,
            },
            "others": self.quiet().json(),
            "rows": rows.iter().map(Row::json).collect::<Vec<_>>(),
            "cases": self.figures.iter().map(Figures::json).collect::<Vec<_>>(),
        })
    }
}

impl Figures {
    fn json(&self) -> Value {
        json!({
            "case": self.case.key(),
            "load": self.case.load.key(),
            "route": self.case.route.key(),
            "title": format!("{}: {}", self.case.load.title(), self.case.route.title()),
            "median": self.median.json(),
            "turns": self.samples.iter().map(Sample::json).collect::<Vec<_>>(),
        })
    }
}
