//! What was seen of each driver, and the page of the book that is made of it.

use std::{collections::BTreeMap, env, fmt, fs, path::Path};

use crate::{
    Driver, Outcome, Step, Way,
    exceptions::{self, Exception},
};

const HEAD: &str = "\
# Postgres drivers

Nothing about a driver changes for Signet, and no driver has a password. One test runs a small program for each driver
(`tests/drivers/`, where their versions are pinned) against a mesh in front of PostgreSQL 15 and one in front of 18, and writes
down what it sees; this page is made by it and checked by every run (`cargo xtask test -p e2e --test drivers`). 15 and 18 gave
the same everywhere. Every program asked to be the user `anybody`, and was the role of its rule.

✓ means that the driver did it, and that what came back was what Postgres would have said; a number leads to a note below.
A column's name is the step of `tests/drivers/README.md`. `cancel` is a cancel request while Postgres sleeps, `large` a result of
100 MB, `idle` a session that says nothing for longer than every deadline of the filter (Envoy's `idle_timeout` ends it after an
hour), `denied` a workload without a rule, which sees SQLSTATE 28000, and `impostor` a server with another SPIFFE ID than the
database's, which the driver turns away.
";

const TAIL: &str = r#"
## What a driver is told

Through its sidecar it needs an address and a database. The user name is free where the rule has one role, and chooses among
`may_act_as` where it has several. `sslmode=disable`, or a Unix socket, saves the round trip in which a driver asks for TLS and
is told that there is none.

| driver | through its sidecar |
| --- | --- |
| psql, pgbench, psycopg | `host=/run/signet dbname=customers`, or `host=127.0.0.1 sslmode=disable` |
| asyncpg | `connect(host="/run/signet", database="customers")` |
| tokio-postgres | `host=/run/signet dbname=customers`, with `NoTls` |
| pgjdbc | `jdbc:postgresql://127.0.0.1:5432/customers?sslmode=disable` |
| pgx | `host=/run/signet database=customers` |
| node-postgres | `{ host: "/run/signet", database: "customers" }` |

For direct TLS it needs the workload's SVID, its key and the trust domain's bundle as files (spiffe-helper writes such), and opens
new connections with the new files when they rotate. ALPN is `postgresql`; libpq, pgjdbc, pgx and node-postgres see to that
themselves.

| driver | direct TLS |
| --- | --- |
| psycopg, with libpq 17 or later | `sslnegotiation=direct sslmode=verify-ca sslcert=svid.pem sslkey=svid_key.pem sslrootcert=svid_bundle.pem` |
| asyncpg | `direct_tls=True` and an `ssl.SSLContext` with ALPN `postgresql`, whose `sslobject_class` asks for the SPIFFE ID |
| tokio-postgres | `SslNegotiation::Direct`, and a rustls verifier that asks for the SPIFFE ID |
| pgjdbc | `sslNegotiation=direct&sslmode=verify-full`, the key as DER (`.pk8`), and an `sslhostnameverifier` that asks for the SPIFFE ID |
| pgx | `sslnegotiation=direct sslmode=verify-ca`, and a `VerifyPeerCertificate` that asks for the SPIFFE ID |
| node-postgres | `sslnegotiation: "direct"`, and a `checkServerIdentity` that asks for the SPIFFE ID |

The programs in `tests/drivers/` show each of these in full. A sidecar checks the database's exact SPIFFE ID, rotates SVIDs by
itself, and lets every driver cancel: prefer it.
"#;

/// One thing that one driver does on one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cell {
    pub(crate) driver: Driver,
    pub(crate) way: Way,
    pub(crate) step: Step,
}

/// All that was seen on one version of Postgres: ✓, a note's number, or what went wrong.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Table(BTreeMap<Cell, Result<String, String>>);

impl Table {
    /// Judges what was seen.
    pub(crate) fn put(&mut self, cell: Cell, outcome: &Outcome) {
        let verdict = match Exception::of(cell) {
            Some((number, exception)) if exception.is_told_by(outcome) => {
                Ok((number + 1).to_string())
            }
            None if cell.step.is_well(outcome) => Ok("✓".to_owned()),
            _ => Err(outcome.to_string()),
        };
        self.0.insert(cell, verdict);
    }

    /// Fails with every cell that is neither as it should be nor a known exception.
    pub(crate) fn assert_as_wanted(&self, version: &str) {
        let wrong: Vec<_> = self.0.iter().filter(|(_, verdict)| verdict.is_err()).collect();
        assert!(wrong.is_empty(), "on PostgreSQL {version}: {wrong:#?}");
    }

    /// Compares with the page of the book.
    pub(crate) fn assert_documented(&self) {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/drivers.md");
        let expected = format!("{HEAD}{self}{TAIL}");
        if env::var_os("BLESS").is_some() {
            fs::write(&page, &expected).unwrap();
        }
        let found = fs::read_to_string(&page).unwrap_or_default();
        assert_eq!(found, expected, "docs/drivers.md is stale; run this test with BLESS=1");
    }

    fn row(&self, driver: Driver, way: Way, steps: &[Step]) -> String {
        let cell = |step: &Step| match self.0.get(&Cell { driver, way, step: *step }) {
            Some(Ok(verdict)) => verdict.clone(),
            Some(Err(_)) => "✗".to_owned(),
            None => "–".to_owned(),
        };
        steps.iter().map(cell).collect::<Vec<_>>().join(" | ")
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for way in Way::ALL {
            let mut steps: Vec<Step> =
                Step::AT_WORK.into_iter().chain([Step::Cancel, Step::Idle, Step::Denied]).collect();
            if way == Way::DirectTls {
                steps.push(Step::Impostor);
            }
            let names: Vec<_> = steps.iter().map(|step| step.name()).collect();
            writeln!(out, "\n## {}\n", way.title())?;
            writeln!(out, "| driver | {} |", names.join(" | "))?;
            writeln!(out, "| --- |{}", " --- |".repeat(steps.len()))?;
            for driver in Driver::ALL {
                writeln!(out, "| {} | {} |", driver.name(), self.row(driver, way, &steps))?;
            }
        }
        writeln!(out, "\n## Notes\n")?;
        for (number, exception) in exceptions::ALL.iter().enumerate() {
            writeln!(out, "{}. {}.", number + 1, exception.why)?;
        }
        Ok(())
    }
}
