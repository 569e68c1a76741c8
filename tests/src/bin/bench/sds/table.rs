//! The figures as Markdown.

use std::fmt::Write;

use super::{report::Report, sample::Figures};
use crate::{
    figures::shown,
    row::{self, Row},
};

/// The whole page.
pub(super) fn page(report: &Report<'_>, rows: &[Row]) -> String {
    let (machine, versions) = (report.machine.line(), report.versions.line());
    let Report { rounds, pushes, node_bytes, .. } = report;
    let (quiet, doubt) = (report.quiet().line(), report.quiet().doubt());
    let doubt = doubt.map_or(String::new(), |doubt| format!("\n**Doubtful:** {doubt}.\n"));
    let node = node_bytes / 1024;
    format!(
        "# What the SDS server costs

Written by `cargo xtask bench sds`; the same figures, with every round, are in `target/bench/sds.json`.

- Machine: {machine}.
- Versions: {versions}.
- Meanwhile: {quiet}.
- One SPIRE server for all. Each round starts, for every line below, SPIRE's agent and the server under test afresh; the
  servers take turns under each load. Rounds: {rounds}, with {pushes} pushes each. Medians over all; ratios are those of
  the medians.
- **SPIRE agent** serves SDS itself. **sds-server** runs with its defaults but for limits of connections, and gets its
  SVID from that agent. The **minimal tonic server** is the yardstick: it knows one secret and sends it to whoever asks,
  without any check; its *slim* variant skips Envoy's node while it decodes.
- The streams live in a process of their own, on a thread of its own. Each asks for `default` and accepts what comes. *Bare*
  requests carry a node of 14 bytes; the others, first requests and answers alike, carry the {node} KiB that the real Envoy
  sends, recorded from it by a stub. Up to 1,000 streams, each has a connection of its own.
- *First secret*: from connecting to the first secret, with 16 at once at most; the median of all streams.
- *Push*: `spire-server entry update` changes a DNS name, so the agent fetches a new SVID and everybody gets it. *CPU* is
  the server's from that command until 0.2 s after the last secret; *agent* is the CPU of SPIRE's agent in the same time,
  which has its own work with a renewal (and asks its server twice a second); *clients* that of the streams' process.
  *First → last* is the time between the first and the last stream's getting it.
- *RSS*: before the first stream, with all open, and after the pushes. *KiB per stream* is what was added in the end.
- *Storm*: all connections are dropped and opened again at once; until the last stream has its secret. One that never
  ends, or after which the agent answers nobody, is *failed* (SPIRE's agent deadlocks on about a thousand at once).
{doubt}
![CPU, time and memory by number of streams](sds.svg)

## Aims

{}
## Cases

{}",
        row::table(rows),
        cases(report.figures),
    )
}

fn cases(figures: &[Figures]) -> String {
    let mut text = "| streams | server | first secret ms | CPU ms/push | agent | clients | first → last ms | RSS MiB idle → open → end | KiB per stream | storm ms | CPU ms | failed |\n\
                    | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    for figures in figures {
        let [idle, open, end] = figures.rss_mib().map(told);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {idle} → {open} → {end} | {} | {} | {} | {} of {} |",
            figures.case.load(),
            figures.case.server.title(),
            told(figures.first_secret_ms()),
            told(figures.cpu_ms()),
            told(figures.agent_cpu_ms()),
            told(figures.swarm_cpu_ms()),
            told(figures.first_to_last_ms()),
            told(figures.kib_per_stream()),
            told(figures.storm_ms()),
            told(figures.storm_cpu_ms()),
            figures.failures(),
            figures.samples.len(),
        );
    }
    text
}

/// What was not measured is a dash.
fn told(figure: f64) -> String {
    if figure.is_finite() { shown(figure) } else { "–".to_owned() }
}
