//! The figures of a run, for machines and for people.

use anyhow::Result;
use serde_json::{Value, json};

use super::{aims, plot, sample::Figures, table};
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
    pub(super) rounds: u32,
    pub(super) pushes: u32,
    /// The size of the real Envoy's node.
    pub(super) node_bytes: usize,
    pub(super) figures: &'a [Figures],
}

impl Report<'_> {
    /// Prints the aims, and writes `sds.json`, and `sds.md` and `sds.svg` where they are wanted.
    pub(super) fn write(&self, options: &Options) -> Result<()> {
        let rows = aims::rows(self.figures);
        publish(options, "sds", &rows, &self.json(&rows), || {
            (table::page(self, &rows), plot::by_streams(self.figures))
        })
    }

    /// How much the machine had to do besides.
    pub(super) fn quiet(&self) -> Quiet {
        let samples = self.figures.iter().flat_map(|figures| &figures.samples);
        Quiet::of(samples.map(|sample| sample.others_cores))
    }

    fn json(&self, rows: &[Row]) -> Value {
        json!({
            "machine": self.machine.json(),
            "versions": self.versions.json(),
            "commit": self.versions.commit(),
            "method": {
                "rounds": self.rounds,
                "pushes_per_round": self.pushes,
                "node_bytes": self.node_bytes,
            },
            "others": self.quiet().json(),
            "rows": rows.iter().map(Row::json).collect::<Vec<_>>(),
            "cases": self.figures.iter().map(Figures::json).collect::<Vec<_>>(),
        })
    }
}
