//! What a driver can't do, or does in its own manner, and why. None of it is passed over: the driver must
//! be seen to say so.

use crate::{
    Cell, Driver,
    Driver::{Asyncpg, NodePostgres, Pgbench, Pgjdbc, Psql, Psycopg},
    Outcome, Step, Way,
};

/// A difference from what a step returns elsewhere.
#[derive(Debug)]
pub(crate) struct Exception {
    drivers: &'static [Driver],
    ways: &'static [Way],
    steps: &'static [Step],
    /// Part of what the program tells, in either case if there are two.
    says: &'static [&'static str],
    /// For the page.
    pub(crate) why: &'static str,
}

const SIDECAR: &[Way] = &[Way::Socket, Way::Loopback];
const DIRECT: &[Way] = &[Way::DirectTls];

pub(crate) const ALL: &[Exception] = &[
    Exception {
        drivers: &[Psql, Pgbench],
        ways: DIRECT,
        steps: &[Step::Connect],
        says: &[r#"invalid connection option "sslnegotiation""#],
        why: "libpq has direct TLS from version 17 on; these two use that of PostgreSQL 15",
    },
    Exception {
        drivers: &[Pgjdbc],
        ways: &[Way::Socket],
        steps: &[Step::Connect],
        says: &["Unable to parse URL"],
        why: "pgjdbc has no Unix sockets of its own; give its sidecar a loopback listener",
    },
    Exception {
        drivers: &[Psql],
        ways: SIDECAR,
        steps: &[Step::Extended],
        says: &[r"invalid command \bind"],
        why: r"psql binds parameters from version 16 on (`\bind`)",
    },
    Exception {
        drivers: &[Pgbench],
        ways: SIDECAR,
        steps: &[Step::CopyIn, Step::CopyOut],
        says: &["COPY is not supported in pgbench"],
        why: "pgbench does not support COPY, and says so",
    },
    Exception {
        drivers: &[Pgbench],
        ways: SIDECAR,
        steps: &[Step::Notify],
        says: &["runs, not shown"],
        why: "LISTEN and NOTIFY run; pgbench does not show notifications",
    },
    Exception {
        drivers: &[Pgbench],
        ways: SIDECAR,
        steps: &[Step::Cancel],
        says: &["ends without a cancel request"],
        why: "pgbench sends no cancel requests: interrupted, it ends, and its query goes on",
    },
    Exception {
        drivers: &[Pgbench],
        ways: SIDECAR,
        steps: &[Step::Large],
        says: &["read"],
        why: "Read to its end; pgbench does not say how much it was",
    },
    Exception {
        drivers: &[Psql, Pgbench, Psycopg],
        ways: &Way::ALL,
        steps: &[Step::Denied],
        says: &["signet: access denied"],
        why: "The message and its detail are shown; libpq keeps the SQLSTATE of a failed connection to itself",
    },
    Exception {
        drivers: &[Asyncpg],
        ways: SIDECAR,
        steps: &[Step::Cancel],
        says: &["sleeps no more"],
        why: "Postgres cancels; asyncpg raises `CancelledError` or `TimeoutError` without the SQLSTATE",
    },
    Exception {
        drivers: &[Asyncpg],
        ways: DIRECT,
        steps: &[Step::Cancel],
        says: &["sleeps on"],
        why: "asyncpg begins its cancel request with an SSLRequest in clear, which a listener for \
              direct TLS does not take: it gives the session up, and the query goes on",
    },
    Exception {
        drivers: &[Pgjdbc],
        ways: DIRECT,
        steps: &[Step::Cancel],
        // 21 is the type of a TLS alert, which the end of the connection may overtake.
        says: &["Expected an EOF from server, got: 21", "slept to the end"],
        why: "pgjdbc sends its cancel request in clear, which a listener for direct TLS does not \
              take: `Statement.cancel` throws or does nothing, and the query goes on",
    },
    Exception {
        drivers: &[NodePostgres],
        ways: DIRECT,
        steps: &[Step::Cancel],
        says: &["slept to the end"],
        why: "node-postgres sends its cancel request before TLS has begun, which a listener for \
              direct TLS does not take: the query goes on",
    },
    Exception {
        drivers: &[Psycopg],
        ways: DIRECT,
        steps: &[Step::Impostor],
        says: &["customers_writer"],
        why: "libpq cannot ask for a SPIFFE ID: with `sslmode=verify-ca` every SVID of the trust \
              domain may answer for the database. Give the database's SVID a DNS name and use \
              `verify-full`, or come through a sidecar, which asks for the exact SPIFFE ID",
    },
];

impl Exception {
    /// The exception that a cell is, with its place in the list.
    pub(crate) fn of(cell: Cell) -> Option<(usize, &'static Self)> {
        let Cell { driver, way, step } = cell;
        ALL.iter().enumerate().find(|(_, exception)| {
            exception.drivers.contains(&driver)
                && exception.ways.contains(&way)
                && exception.steps.contains(&step)
        })
    }

    /// Has this exception been seen?
    pub(crate) fn is_told_by(&self, outcome: &Outcome) -> bool {
        self.says.iter().any(|words| outcome.detail.contains(words))
    }
}

/// A way that a driver can't come by: it fails to connect.
pub(crate) fn bars(driver: Driver, way: Way) -> bool {
    Exception::of(Cell { driver, way, step: Step::Connect }).is_some()
}
