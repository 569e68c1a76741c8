//! The figures as Markdown.

use std::fmt::Write;

use super::{
    Figures, Pace,
    cases::{Case, Filter, Load, Route},
    pgbench::Length,
    report::Report,
    sample::Sample,
    settings::Setting,
};
use crate::{
    figures::shown,
    row::{self, Row},
};

/// The whole page.
pub(super) fn page(report: &Report<'_>, rows: &[Row]) -> String {
    let (machine, versions) = (report.machine.line(), report.versions.line());
    let (quiet, doubt) = (report.quiet().line(), report.quiet().doubt());
    let doubt = doubt.map_or(String::new(), |doubt| format!("\n**Doubtful:** {doubt}.\n"));
    let Pace { rounds, compared_turns: compared, scale, .. } = report.pace;
    let length = match report.pace.length {
        Length::Seconds(seconds) => format!("{seconds} s"),
        Length::Transactions(count) => format!("{count} transactions of each client"),
    };
    format!(
        "# What the way to Postgres costs

Written by `cargo xtask bench postgres`; the same figures, with every round, are in `target/bench/postgres.json`.

- Machine: {machine}.
- Versions: {versions}.
- Meanwhile: {quiet}.
- One Postgres for all, stock but for `fsync`, `synchronous_commit`, `full_page_writes` and autovacuum, which are off: disks
  would hide what is measured here. `pgbench` at scale {scale}, with a thread for each client. All of it on one machine, which
  clients, proxies and Postgres share: what a proxy spends, Postgres lacks.
- All ways are up at once, with new proxies in each round, since one process differs from the next for its whole life. {length}
  for each case and round, in turn under each load, in another order each time; rounds: {rounds}. What the aims compare has
  {compared} turns in each round, since one differs from the next by more than the aims allow. Medians over all turns; ratios
  are those of the medians.
- Latencies are from the end of a client's transaction to the end of its next one, so they hold the connecting where each
  transaction has a connection of its own.
- Certificates are P-256 everywhere, TLS is 1.3.

The ways to Postgres:

| way | what it is |
| --- | --- |
| direct TCP, trusted | `pgbench` → TCP → Postgres, which asks for nothing: the least that there can be, and what the others are compared with |
| direct TCP, password | the same with SCRAM-SHA-256, as most do today |
| direct TLS, certificate | Postgres' own TLS with a client certificate: `sslmode=verify-full`, `cert` in `pg_hba.conf` |
| two Envoys, no filter | `pgbench` → Unix socket → `envoy/client-proxy.yaml` → mutual TLS → `envoy/db-proxy.yaml` without our filter → Unix socket, `peer` → Postgres. Both with their access logs, as many workers as cores, secrets from sds-server |
| … + empty Wasm module | the same, with a module that is called for each connection and each chunk, and does nothing: the floor |
| … that waits for the start-up | a module that pauses the connection until the client has spoken, and does nothing else |
| two Envoys, pg-role | the bootstraps as they are: `pg_role.wasm` reads the start-up packet, decides, writes the role and follows the session to its end |
| … with one worker each | the same, each Envoy started with `--concurrency 1` |
| PgBouncer, certificate | `pgbench` → TLS with a client certificate → PgBouncer (session pooling, one process) → Unix socket, `peer` → Postgres. It keeps its connections to Postgres, so that a new client costs no new backend; the others have one each |

To repeat it: `cargo xtask bench postgres`, on a machine that does nothing else, which sets up what is missing and takes about
twenty minutes. One load or one way alone is quick: `--case select-8-connect`, `--case pg-role --case envoys-empty`.
{doubt}
![Transactions per second, as a part of direct TCP](postgres.svg)

## Aims

{}
## What it means

A steady session costs two hops, and the kernel is what they spend their time in: in a profile of the database's Envoy four
fifths of the CPU were system calls and switches between threads, a hundredth our filter's own code. Nothing stops Envoy from
calling a network filter once a session runs, so the filter does little then: it follows the client's messages by their lengths,
to know where it could end the session, and reads nothing of what Postgres answers. For a chunk of the client it calls Envoy
twice, to read the messages' headers and to let the chunk go on; for one of Postgres not at all. Neither call can go: without the
first nobody knows where a message ends, and only a connection that the filter lets go on by hand can be spoken to by its
timer. A build for speed instead of size would save a seventh of what is its own, some 120 instructions of Wasm per transaction,
and be half as large again: more than a module may be.

A connection per transaction costs the handshake of the two Envoys beside a new backend of Postgres. Two things are ours. The
filter waits for the start-up packet, so that Postgres forks no backend for who is denied, while Envoys without it connect to
Postgres during the handshake; the module that waits shows what that takes. And it decides, rewrites, writes its log and what the
access log says, and remembers the backend for cancels: in profiles about a tenth of what the two Envoys spend on a connection.

PgBouncer is one hop instead of two and keeps its backends, so a new client costs no new backend. It knows its clients by the
common names of their certificates, and Postgres knows only PgBouncer.

## What was tried to make the hop cheap

Each setting alone, in both Envoys, with pg-role; ratios to the bootstraps as they are, of transactions per second and of the CPU
of both Envoys per transaction. Steady and connecting are `-S` with 8 clients. What the rounds of one case differ by is noise.

{}
`TCP_NODELAY` is Envoy's default on every connection. Resuming TLS sessions would spare most of a handshake; it stays off, as a
resumed session skips the client's certificate. `preconnect_policy` towards the database spares a single client the wait for its
backend, and eight clients nothing; it stays off, since Postgres would fork backends that nobody has asked for, and a client may
get one that has been closed meanwhile.

## Cases

{}",
        row::table(rows),
        settings(report.figures),
        cases(report.figures),
    )
}

/// What each setting makes of pg-role's way, where both were measured.
fn settings(figures: &[Figures]) -> String {
    let median = |load, route| {
        let case = Case { load, route };
        figures.iter().find(|figures| figures.case == case).map(|figures| &figures.median)
    };
    let mut text =
        "| setting | steady: transactions/s | CPU | connecting: transactions/s | CPU | shipped |\n\
                    | --- | ---: | ---: | ---: | ---: | --- |\n"
            .to_owned();
    for setting in Setting::ALL {
        let _ = write!(text, "| {} |", setting.what());
        for load in Load::OF_SETTINGS {
            let tuned = median(load, Route::Tuned(setting));
            let shipped = median(load, Route::Envoys(Filter::PgRole));
            let ratio = |of: fn(&Sample) -> Option<f64>| {
                let ratio = tuned.and_then(of).zip(shipped.and_then(of));
                ratio.map_or("–".to_owned(), |(tuned, shipped)| format!("{:.2}", tuned / shipped))
            };
            let (tps, cpu) = (ratio(|it| Some(it.tps)), ratio(|it| it.proxy_us));
            let _ = write!(text, " {tps} | {cpu} |");
        }
        let _ = writeln!(text, " {} |", setting.verdict());
    }
    text
}

/// A table per load.
fn cases(figures: &[Figures]) -> String {
    let mut text = String::new();
    for load in Load::ALL {
        let own: Vec<&Figures> =
            figures.iter().filter(|figures| figures.case.load == load).collect();
        let direct = own.iter().find(|figures| figures.case.route == Route::Tcp);
        if own.is_empty() {
            continue;
        }
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "### {}\n\n\
             | between client and Postgres | transactions/s | of direct TCP | mean ms | p50 ms | p99 ms | CPU of proxies, µs/transaction |\n\
             | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
            load.title()
        );
        for Figures { case, median, .. } in &own {
            let part = direct.map_or("–".to_owned(), |direct| {
                format!("{:.2}", median.tps / direct.median.tps)
            });
            let _ = writeln!(
                text,
                "| {} | {} | {part} | {:.2} | {:.2} | {:.2} | {} |",
                case.route.title(),
                shown(median.tps),
                median.mean_ms,
                median.p50_ms,
                median.p99_ms,
                median.proxy_us.map_or("–".to_owned(), shown),
            );
        }
        text.push('\n');
    }
    text
}
