//! The figures as Markdown.

use std::fmt::Write;

use super::{
    Figures, Pace, cases::Case, load::CONNECTIONS, report::Report, rules::Rules, sample::Sample,
    steps::Step,
};
use crate::{
    figures::{as_float, shown, thousands},
    row::{self, Row},
};

/// The whole page.
pub(super) fn page(report: &Report<'_>, rows: &[Row]) -> String {
    let (machine, versions) = (report.machine.line(), report.versions.line());
    let Pace { rounds, warming, measuring } = report.pace;
    let [warming, seconds] = [warming, measuring].map(|time| time.as_secs_f64());
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
- A new Envoy for each case in each round, since one process differs from the next for its whole life; {seconds} s
  each, in turn, after {warming} s that do not count; rounds: {rounds}. Medians over rounds; ratios are those of the medians.
- Rules: one per caller for the same method and path, the bench's caller in the last. RBAC's list has the same
  conditions; its tree looks at the caller alone, as does Lua, which writes one header where ours writes three.
- The cost does not depend on the number of rules, but for those with the very same path, caller and host, which differ in
  headers, claims, ports or methods only, and for the caller's wide rules: those are looked at one by one.
- The Wasm filters that begin with `…` decide nothing. Each makes the host calls of the one above it and those that it
  names; the last makes all that ours makes. What ours costs beyond it is our own code.

{doubt}
![Requests per second by number of rules](policy.svg)

## What a request costs and why

Envoy enters the VM three times (the headers, and memory for the peer and for the headers), and our code calls Envoy
{} times. The modules that decide nothing show what these calls alone take:

{}
The calls that remain are needed: the clock for certificates that expire on an open connection; the peer, as the
listener wrote it; all headers, in one call, which costs less than two calls for one; the verdict with the role, which
the second wall demands, and the rule, both where no client can write; `x-envoy-external-address`, which Envoy adds to
each request of a listener at the edge, is removed with whatever else a client could have forged under `x-envoy-`; and
what the API is told, a call for each header. The ABI has no call that hands over headers and a property at once, nor
one that writes several values. An expression that Envoy evaluates to the peer, path, method and host together (`expr_evaluate`)
costs as much as both calls, and tells of no other header.

What was removed: contexts of requests, since the newest policy judges each; counts, which go to Envoy once a second;
two of four values for the access log; replacing headers, which looks for them once more than adding; and of our own
code two thirds of the instructions: a peer that has been here before is known by its filter state, so its SPIFFE ID is neither checked nor
looked up again; the memory of one request is used again for the next; and what runs for each
request is compiled for speed where the rest is compiled for size. The clock could be read once a second as well, but a
timer that stops would then keep expired certificates alive, and the call is one of the cheapest.

## Aims

{}
{}
## Cases

{}
## The command line

Each command is a process of its own, from its start to its end, among the others in each round. The last line is no
command: it is what reading a slice of this size costs in the native build, the slowest of seven shapes of rules.

{}",
        Step::Told.host_calls(),
        ladder(report.figures),
        row::table(rows),
        beyond(report.figures),
        cases(report.figures),
        report.commands.table(),
    )
}

/// What each step adds to the one before it, and what our own code adds to the last.
fn ladder(figures: &[Figures]) -> String {
    let cpu = |case: Case| {
        let found = figures.iter().find(|figures| figures.case == case);
        found.map(|figures| figures.median.cpu_us_per_request)
    };
    let mut text = "| | µs of CPU |\n| --- | ---: |\n".to_owned();
    let mut line = |title: &str, from: Case, to: Case| {
        if let (Some(from), Some(to)) = (cpu(from), cpu(to)) {
            let _ = writeln!(text, "| {title} | {:.1} |", to - from);
        }
    };
    let mut last = Case::NoFilter;
    for step in Step::ALL {
        line(step.title(), last, Case::Wasm(step));
        last = Case::Wasm(step);
    }
    let ours = Case::Ours(Rules::Callers(1));
    line("our own code: reading both, deciding, and the caches that this fills", last, ours);
    line("**all of it, 1 rule**", Case::NoFilter, ours);
    text
}

/// Why some aims are beyond reach.
fn beyond(figures: &[Figures]) -> String {
    let of = |case: Case| figures.iter().find(|figures| figures.case == case);
    let mut text = String::new();
    if let (Some(bare), Some(list)) = (of(Case::NoFilter), of(Case::List(1_000))) {
        let ratio = bare.median.requests_per_second / list.median.requests_per_second;
        let _ = writeln!(
            text,
            "- Against RBAC's list of 1,000 no filter at all reaches {ratio:.1}: with an upstream behind it, Envoy's own\n  \
             work is most of what a fast filter leaves over."
        );
    }
    let paths = Rules::Paths(100_000);
    if let (Some(one), Some(many)) = (of(Case::Ours(Rules::Callers(1))), of(Case::Ours(paths))) {
        let more = many.median.cpu_us_per_request - one.median.cpu_us_per_request;
        let memory = many.wasm.map_or(f64::NAN, |wasm| as_float(wasm.memory) / 1024.0 / 1024.0);
        let _ = writeln!(
            text,
            "- With {} rules of a path each a request costs {more:.1} µs more than with one rule. It is the processor's\n  \
             caches that miss: {} paths are asked for in turn, and each has its own places in a VM of {memory:.0} MiB.",
            thousands(paths.count()),
            thousands(paths.asked().len()),
        );
    }
    text
}

fn cases(figures: &[Figures]) -> String {
    let mut text = "| in the chain | requests/s | lowest, highest | of no filter | p50 µs | p99 µs | CPU µs/request | added | CPU of Envoy | of the bench | RSS MiB | VM MiB | compiled ms | policy read ms |\n\
                    | --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    let Some(bare) = figures.iter().find(|figures| figures.case == Case::NoFilter) else {
        return text;
    };
    for Figures { case, median, wasm, samples } in figures {
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
            "| {} | {} | {} | {of_bare:.2} | {} | {} | {:.1} | {added:.1} | {:.0} % | {:.0} % | {:.0} | {wasm} |",
            case.title(),
            shown(median.requests_per_second),
            spread(samples),
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

/// Between which requests per second the rounds lie.
fn spread(samples: &[Sample]) -> String {
    let rates = || samples.iter().map(|sample| sample.requests_per_second);
    let [low, high] = [rates().fold(f64::INFINITY, f64::min), rates().fold(0.0, f64::max)];
    format!("{}, {}", shown(low), shown(high))
}
