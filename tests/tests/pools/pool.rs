//! The programs of `tests/pools/`, and what they print.

use std::{collections::BTreeSet, fmt, net::SocketAddr, path::PathBuf};

use anyhow::{Context, Result, ensure};
use e2e::{Launch, Mesh, PATIENCE, Process, Programs, until};
use serde::Deserialize;

/// Most connections of each pool.
pub(crate) const SIZE: usize = 4;

/// Successes in a row, of all workers, that count as recovered.
const RECOVERED: usize = 100;

/// What one request came to.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged)]
pub(crate) enum Outcome {
    Answer { backend: i32, user: String },
    Failure { error: String },
}

/// The pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Deadpool,
    /// The same, asking whether a connection still runs before it is handed out.
    DeadpoolVerified,
    Pgxpool,
    HikariCp,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Deadpool, Self::DeadpoolVerified, Self::Pgxpool, Self::HikariCp];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Deadpool => "deadpool",
            Self::DeadpoolVerified => "deadpool, verified",
            Self::Pgxpool => "pgxpool",
            Self::HikariCp => "HikariCP",
        }
    }

    /// How many requests the end of a connection costs at most. By default deadpool hands a connection out again after
    /// a fatal error, until it is seen to be closed.
    pub(crate) fn requests_per_end(self) -> usize {
        if self == Self::Deadpool { 2 } else { 1 }
    }

    /// Whether this is what a request may see of the end of its session: SQLSTATE 57P01. deadpool's driver reads that as soon
    /// as it comes, and the next request on the connection learns no more than that it is closed.
    pub(crate) fn knows_the_end(self, error: &str) -> bool {
        let is_deadpool = matches!(self, Self::Deadpool | Self::DeadpoolVerified);
        error.contains("57P01") || (is_deadpool && error == "connection closed")
    }

    /// Whether a request may see this instead when Postgres has ended the session by itself. It closes the connection at once,
    /// while the filter waits until the client has read. A request on its way then fails at being sent, or finds the
    /// connection reset: what Postgres had said before may be lost with it.
    pub(crate) fn finds_it_broken(self, error: &str) -> bool {
        match self {
            Self::Deadpool | Self::DeadpoolVerified => {
                error.starts_with("error communicating with the server: ")
            }
            Self::Pgxpool => {
                error.starts_with("write failed: ")
                    || error == "unexpected EOF"
                    || error.ends_with(": connection reset by peer")
            }
            Self::HikariCp => error == "08006 An I/O error occurred while sending to the backend.",
        }
    }

    fn program(self, programs: &Programs) -> Result<(PathBuf, Vec<String>)> {
        Ok(match self {
            Self::Deadpool | Self::DeadpoolVerified => (programs.own("pool-deadpool")?, vec![]),
            Self::Pgxpool => (programs.pool("pgxpool/load")?, vec![]),
            Self::HikariCp => {
                let folder = programs.pool("hikaricp")?;
                let classes = ["HikariCP.jar", "slf4j-api.jar", "postgresql.jar", "."]
                    .map(|file| folder.join(file).display().to_string());
                ("java".into(), vec!["-cp".into(), classes.join(":"), "Load".into()])
            }
        })
    }
}

/// A pool at work.
pub(crate) struct Pool {
    pub(crate) kind: Kind,
    process: Process,
    outcomes: Vec<Outcome>,
    read: usize,
}

/// A moment in the life of a pool: how much it had printed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment(usize);

/// What happened since a moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Since {
    pub(crate) errors: Vec<String>,
    pub(crate) backends: BTreeSet<i32>,
    pub(crate) answers: usize,
}

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (answers, backends, errors) = (self.answers, self.backends.len(), self.errors.len());
        write!(f, "{answers} answers on {backends} connections, {errors} errors")?;
        let kinds: BTreeSet<&String> = self.errors.iter().collect();
        kinds.into_iter().try_for_each(|kind| write!(f, "\n    {kind}"))
    }
}

impl Pool {
    /// Starts all of them, as `user` of the sidecar at `address`.
    pub(crate) fn all(mesh: &Mesh, address: SocketAddr, user: &str) -> Result<Vec<Self>> {
        let start = |kind: Kind| {
            let (program, arguments) = kind.program(&mesh.stage.programs)?;
            let process = Launch::new(kind.name(), program, &mesh.stage.accounts.harness)
                .args(arguments)
                .env("PGHOST", address.ip().to_string())
                .env("PGPORT", address.port().to_string())
                .env("PGUSER", user)
                .env("PGDATABASE", "customers")
                .env("POOL_SIZE", SIZE.to_string())
                .env("POOL_RECYCLING", if kind == Kind::DeadpoolVerified { "verified" } else { "" })
                .start(&mesh.stage)?;
            Ok(Self { kind, process, outcomes: Vec::new(), read: 0 })
        };
        Kind::ALL.into_iter().map(start).collect()
    }

    /// Reads on.
    fn read(&mut self) -> Result<()> {
        self.process.alive()?;
        let printed = self.process.stdout();
        let new = &printed[self.read..];
        // The last line may be half a line.
        let new = &new[..new.rfind('\n').map_or(0, |end| end + 1)];
        for line in new.lines() {
            self.outcomes.push(serde_json::from_str(line).with_context(|| line.to_owned())?);
        }
        self.read += new.len();
        Ok(())
    }

    /// Now.
    pub(crate) fn now(&mut self) -> Result<Moment> {
        self.read()?;
        Ok(Moment(self.outcomes.len()))
    }

    /// What happened since then.
    pub(crate) fn since(&mut self, Moment(before): Moment) -> Result<Since> {
        self.read()?;
        let mut since = Since::default();
        for outcome in &self.outcomes[before..] {
            match outcome {
                Outcome::Answer { backend, .. } => {
                    since.answers += 1;
                    since.backends.insert(*backend);
                }
                Outcome::Failure { error } => since.errors.push(error.clone()),
            }
        }
        Ok(since)
    }

    /// Waits until the pool has answered a while without an error, as `user`, and on none of the `old` backends.
    pub(crate) async fn recovers(
        &mut self,
        from: Moment,
        user: &str,
        old: &BTreeSet<i32>,
    ) -> Result<Since> {
        let what = format!("{} recovers", self.kind.name());
        until(&what, PATIENCE, async || {
            self.read()?;
            let outcomes = &self.outcomes[from.0..];
            let last = outcomes.len().checked_sub(RECOVERED).context("too few requests")?;
            for outcome in &outcomes[last..] {
                match outcome {
                    Outcome::Answer { backend, user: found } => {
                        ensure!(found == user, "still {found}");
                        ensure!(!old.contains(backend), "still backend {backend}");
                    }
                    Outcome::Failure { error } => anyhow::bail!("{error}"),
                }
            }
            Ok(())
        })
        .await?;
        self.since(from)
    }
}
