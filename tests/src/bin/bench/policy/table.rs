//! The figures as Markdown.

use std::fmt::Write;

use super::{Figures, cases::Case, load::CONNECTIONS, report::Report};
use crate::{
    figures::{as_float, shown},
    row::{self, Row},
};

/// The whole page.
pub(super) fn page(report: &Report<'_>, rows: &[Row]) -> String {
    let (machine, versions) = (report.machine.line(), report.versions.line());
    let (rounds, seconds) = (report.pace.rounds, report.pace.measuring.as_secs_f64());
    let (quiet, doubt) = (report.quiet().line(), report.quiet().doubt());
    let doubt = doubt.map_or(String::new(), |doubt| format!("\n**Doubtful:** {doubt}.\n"));
    format!(
        "# What the HTTP filter costs

Written by `cargo xtask bench policy`; the same figures, with every round, are in `target/bench/policy.json`.

- Machine: {machine}.
- Versions: {versions}.
- Meanwhile: {quiet}.
- Envoy with one worker: mTLS (TLS 1.3, HTTP/1.1, {CONNECTIONS} connections, one request at a time on each) in, a Unix
  socket out. No access log, so that nothing flatters the filters' ratios.
- The upstream is a loop of read and write inside the bench's own thread, which also holds the callers: it leaves the
  other core to Envoy. Envoy's CPU near 100 % says that Envoy was the bottleneck, as it should be.
- One Envoy per case, all up for the whole run; {seconds} s per case and round, in turn, rounds: {rounds}. Medians over
  rounds; ratios are those of the medians.
- Rules: one per caller for the same method and path, the bench's caller in the last. RBAC's list has the same
  conditions; its tree looks at the caller alone, as does Lua, which writes one header where ours writes three.
- The Wasm filters that begin with `…` decide nothing. Each makes the host calls of the one above it and those that it
  names; the last makes all that ours makes. What ours costs beyond it is our own code.

What a request costs and why: Envoy enters the VM three times (the headers, and memory for the peer and for the
headers), and our code enters Envoy eleven times (the clock, the peer, all headers, four values for the access log, one
header out and three in). The ladder of modules that decide nothing shows what these calls alone take,
which is more than the aim allows for the whole. Once there were five entries and more calls: a request needs no context
of its own, as the newest policy judges it, and counts go to Envoy once a second. The rest is ours: the decision, reading the peer, and the caches that both fill. Profiles made it smaller:
forged headers are removed and ours added, since replacing looks for them once more; IDs and plain paths are read in one
pass; nothing is allocated to decide. A build for speed instead of size is a tenth to a half larger, over the size that
we allow, and saves 0.4 µs of it at most. What would help is fewer calls: the ABI has none that hands over headers and a
property at once.
{doubt}
![Requests per second by number of rules](policy.svg)

## Aims

{}
## Cases

{}",
        row::table(rows),
        cases(report.figures),
    )
}

fn cases(figures: &[Figures]) -> String {
    let mut text = "| in the chain | requests/s | of no filter | p50 µs | p99 µs | CPU µs/request | added | CPU of Envoy | of the bench | RSS MiB | VM MiB | compiled ms | policy read ms |\n\
                    | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    let Some(bare) = figures.iter().find(|figures| figures.case == Case::NoFilter) else {
        return text;
    };
    for Figures { case, median, wasm, .. } in figures {
        let of_bare = median.requests_per_second / bare.median.requests_per_second;
        let added = median.cpu_us_per_request - bare.median.cpu_us_per_request;
        let wasm = wasm.map_or_else(
            || "| |".to_owned(),
            |wasm| {
                let mib = as_float(wasm.memory) / 1024.0 / 1024.0;
                let [compiled, configured] = [wasm.start.compiled, wasm.start.configured]
                    .map(|time| shown(time.as_secs_f64() * 1e3));
                format!("{mib:.2} | {compiled} | {configured}")
            },
        );
        let _ = writeln!(
            text,
            "| {} | {} | {of_bare:.2} | {} | {} | {:.1} | {added:.1} | {:.0} % | {:.0} % | {:.0} | {wasm} |",
            case.title(),
            shown(median.requests_per_second),
            shown(median.p50_us),
            shown(median.p99_us),
            median.cpu_us_per_request,
            median.envoy_cores * 100.0,
            median.bench_cores * 100.0,
            median.rss_mib,
        );
    }
    text
}
