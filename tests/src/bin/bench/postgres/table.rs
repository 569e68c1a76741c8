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
| … with one worker each | the same, each Envoy started with `--concurrency 1` |
| PgBouncer, certificate | `pgbench` → TLS with a client certificate → PgBouncer (session pooling, one process) → Unix socket, `peer` → Postgres. It keeps its connections to Postgres, so that a new client costs no new backend; the others have one each |

To repeat it: `cargo xtask bench postgres`, on a machine that does nothing else, which sets up what is missing and takes about
fifteen minutes. One load or one way alone is quick: `--case select-8-connect`, `--case pg-role --case envoys-empty`.
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
timer. A build for speed instead of size would save a third of what is its own, a few hundred instructions per transaction.

A connection per transaction costs the handshake of the two Envoys beside a new backend of Postgres. Two things are ours. The
filter waits for the start-up packet, so that Postgres forks no backend for who is denied, while Envoys without it connect to
Postgres during the handshake; the module that waits shows what that takes. And it decides, rewrites, writes its log and what the
access log says, and remembers the backend for cancels: in profiles about a tenth of what the two Envoys spend on a connection.

PgBouncer is one hop instead of two and keeps its backends, so a new client costs no new backend. It knows its clients by the
common names of their certificates, and Postgres knows only PgBouncer.

## What was tried to make the hop cheap

On the bootstraps without our filter, beside other work on the same machine. So only this is told: the CPU of both Envoys per
transaction, as the median of the ratios to the bootstraps as they are, in turn in rounds of one second (3 rounds steady, 8 to 18
connecting, of the preconnecting 2). Below 0.1 steady and 0.05 connecting it is noise.

| setting | steady `-S`, 8 clients | connecting `-S`, 8 clients | kept |
| --- | ---: | ---: | --- |
| one worker instead of one per core (`--concurrency 1`) | 0.77 | 0.93 | a choice of the command line, for whoever has few connections; transactions/s are above |
| key exchange by X25519 alone (`ecdh_curves`), not Envoy's default X25519MLKEM768 | 0.96 | 0.94 | no: the default keeps recorded traffic safe from quantum computers |
| … by P-256 alone | 0.93 | 0.92 | no, likewise |
| loopback TCP instead of the Unix socket between client and its Envoy | 1.00 | 0.97 | no: a socket's permissions say who may use it |
| no access logs | 0.98 | 1.01 | no: they cost nothing that shows |
| no second wall (RBAC) and no filter state | 0.96 | 1.00 | no, likewise; pg-role needs the latter |
| no check of the server's exact SPIFFE ID | 1.02 | 1.01 | no, likewise |
| buffer limits of 16 KiB / 128 KiB / 1 MiB instead of 32 KiB | 0.96 / – / 0.92 | 1.04 / 1.05 / 1.04 | no: nothing beyond noise, with results of 20 MB neither |
| `exact_balance` of connections among workers | 0.96 | 1.03 | no |
| `max_early_data_bytes` at the client's Envoy | – | 1.01 | no |
| pg-role's log lines off (`wasm:warning`), against pg-role with them | 1.04 | 0.96 | no: they are the audit |
| `preconnect_policy` towards the database | 0.98 | 1.07 | no: it opens connections ahead that nobody may ever use, and a client got one that had been closed meanwhile |

`TCP_NODELAY` is Envoy's default on every connection. Resuming TLS sessions would spare most of a handshake; it stays off, as a
resumed session skips the client's certificate.

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
