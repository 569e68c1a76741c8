//! The figures of a run, for machines and for people.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Figures, Pace, aims, plot, table};
use crate::{
    Options,
    load::CONNECTIONS,
    machine::{Machine, Versions},
    sample::{Sample, as_float, rounded},
};

/// All that is known at the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report<'a> {
    pub(super) machine: &'a Machine,
    pub(super) versions: &'a Versions,
    pub(super) pace: Pace,
    pub(super) module_bytes: u64,
    pub(super) figures: &'a [Figures],
}

impl Report<'_> {
    /// Prints the aims, and writes `policy.json`, and `policy.md` and `policy.svg` where they are wanted.
    pub(super) fn write(&self, options: &Options) -> Result<()> {
        let rows = aims::rows(self.figures, self.module_bytes);
        println!("\n{}", table::aims(&rows));
        let json = serde_json::to_string_pretty(&self.json(&rows))? + "\n";
        write(&options.results, "policy.json", &json)?;
        if let Some(docs) = &options.docs {
            write(docs, "policy.md", &table::page(self, &rows))?;
            write(docs, "policy.svg", &plot::requests_by_rules(self.figures))?;
        }
        Ok(())
    }

    fn json(&self, rows: &[aims::Row]) -> Value {
        let Pace { rounds, warming, measuring } = self.pace;
        json!({
            "machine": self.machine.json(),
            "versions": {
                "envoy": self.versions.envoy(),
                "spiffe_authz_sha256": self.versions.filter_sha256(),
                "spiffe_authz_bytes": self.module_bytes,
            },
            "commit": self.versions.commit(),
            "method": {
                "rounds": rounds,
                "warming_seconds": warming.as_secs_f64(),
                "measured_seconds": measuring.as_secs_f64(),
                "connections": CONNECTIONS,
            },
            "rows": rows.iter().map(aims::Row::json).collect::<Vec<_>>(),
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

fn write(directory: &Path, name: &str, text: &str) -> Result<()> {
    let path = directory.join(name);
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(&path, text))
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("written: {}", path.display());
    Ok(())
}
