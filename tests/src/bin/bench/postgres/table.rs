//! The figures as Markdown.

use std::fmt::Write;

use super::{
    Figures,
    cases::{Load, Route},
    pgbench::Length,
    report::Report,
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
    let (rounds, scale) = (report.pace.rounds, report.pace.scale);
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
- All ways are up for the whole run; {length} for each case and round, in turn under each load, rounds: {rounds}. Medians over
  rounds; ratios are those of the medians.
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
| PgBouncer, certificate | `pgbench` → TLS with a client certificate → PgBouncer (session pooling, one process) → Unix socket, `peer` → Postgres. It keeps its connections to Postgres, so that a new client costs no new backend; the others have one each |
{doubt}
![Transactions per second, as a part of direct TCP](postgres.svg)

## Aims

{}
## Cases

{}",
        row::table(rows),
        cases(report.figures),
    )
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
