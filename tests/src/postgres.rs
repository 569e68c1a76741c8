//! A real Postgres, on a Unix socket only, that knows its clients by their user (`peer`).

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tokio_postgres::{Client, Config, NoTls};

use crate::{Launch, PATIENCE, Process, Stage, until};

/// The two ends of the supported range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostgresVersion {
    /// Debian's.
    V15,
    /// The newest.
    V18,
}

impl PostgresVersion {
    /// The major version.
    pub fn number(self) -> &'static str {
        match self {
            Self::V15 => "15",
            Self::V18 => "18",
        }
    }
}

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    process: Option<Process>,
    directory: PathBuf,
    psql: PathBuf,
}

/// What an administrator writes for a server.
#[derive(Clone, Debug, Default)]
pub struct PostgresFiles {
    /// Lines of `postgresql.conf`, behind those of `examples/db`.
    pub settings: String,
    /// Lines of `pg_hba.conf`, behind the administrator's own.
    pub hba: String,
    /// Lines of `pg_ident.conf`.
    pub ident: String,
}

impl PostgresFiles {
    /// Writes the two that say who gets in. Before all else the administrator does: whoever is `postgres`
    /// here, which is whoever runs this where that isn't root.
    fn write_access(&self, stage: &Stage, data: &Path) -> Result<()> {
        let administrator = &stage.accounts.postgres.name;
        fs::write(
            data.join("pg_hba.conf"),
            format!("local all postgres peer map=harness\n{}", self.hba),
        )?;
        fs::write(
            data.join("pg_ident.conf"),
            format!("harness {administrator} postgres\n{}", self.ident),
        )?;
        Ok(())
    }
}

impl Postgres {
    /// Makes a cluster, starts it, and does what `examples/db` says: with roles and files for the policy of the demo, and
    /// the databases there.
    pub async fn start(stage: &Stage, version: PostgresVersion) -> Result<Self> {
        let example = stage.within_reach(&stage.programs.repository_file("examples/db")?)?;
        let policy = stage.programs.repository_file("examples/policies/demo.yaml")?;
        let postgres = Self::start_empty(stage, version, &PostgresFiles::default()).await?;
        let run = |database, file| {
            postgres.administer(stage, database, "--file", example.join(file)).map(drop)
        };
        run("postgres", "databases.sql")?;
        postgres.obey(stage, version, &policy).await?;
        run("customers", "customers.sql")?;
        run("products", "products.sql")?;
        Ok(postgres)
    }

    /// Puts in force what `signet policy sql` writes for a policy.
    pub async fn obey(&self, stage: &Stage, version: PostgresVersion, policy: &Path) -> Result<()> {
        let signet = stage.programs.own("signet")?;
        let written = |part| {
            Launch::new("signet", &signet, &stage.accounts.harness)
                .args(["policy", "sql"])
                .arg(policy)
                .args(["--database", "db", "--postgres-version", version.number()])
                .args(["--envoy-user", &stage.accounts.mesh.name, "--part", part])
                .output()
        };
        self.sql(stage, "postgres", &written("sql")?)?;
        let (hba, ident) = (written("hba")?, written("ident")?);
        self.let_in(stage, &PostgresFiles { settings: String::new(), hba, ident }).await
    }

    /// Makes a cluster without databases of ours, and starts it.
    pub async fn start_empty(
        stage: &Stage,
        version: PostgresVersion,
        files: &PostgresFiles,
    ) -> Result<Self> {
        let installation = stage.within_reach(&stage.programs.postgres(version)?)?;
        let owner = &stage.accounts.postgres;
        let directory = stage.directory("postgres", owner)?;
        let data = directory.join("data");
        Launch::new("initdb", installation.join("bin/initdb"), owner)
            .args(["--no-sync", "--encoding=UTF8", "--locale=C", "--username=postgres"])
            .args(["--auth=peer", "--pgdata"])
            .arg(&data)
            .output()?;
        let wanted = stage.programs.repository_file("examples/db/postgresql.conf")?;
        configure(&fs::read_to_string(wanted)?, files, &data, &directory)?;
        files.write_access(stage, &data)?;
        let process = Launch::new("postgres", installation.join("bin/postgres"), owner)
            .arg("-D")
            .arg(&data)
            .stopped_by(Signal::INT)
            .start(stage)?;
        let mut postgres = Self { process: Some(process), directory, psql: stage.programs.psql()? };
        postgres.accepts_connections(stage).await?;
        Ok(postgres)
    }

    /// Replaces who gets in, and waits until Postgres has read it.
    pub async fn let_in(&self, stage: &Stage, files: &PostgresFiles) -> Result<()> {
        let read_at = || self.sql(stage, "postgres", "select pg_conf_load_time()");
        let before = read_at()?;
        files.write_access(stage, &self.directory.join("data"))?;
        self.sql(stage, "postgres", "select pg_reload_conf()")?;
        until("Postgres has read its files", PATIENCE, async || {
            ensure!(read_at()? != before, "they were read at {before}");
            Ok(())
        })
        .await
    }

    /// The directory of its socket, which drivers take for a host.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The Unix socket itself.
    pub fn socket(&self) -> PathBuf {
        self.directory.join(".s.PGSQL.5432")
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::stderr).unwrap_or_default()
    }

    /// Stops it, with an end to all sessions, and starts it again.
    pub async fn restart(&mut self, stage: &Stage) -> Result<()> {
        let stopped = self.process.take().context("Postgres was never started")?.stopped();
        self.process = Some(stopped.restart(stage)?);
        self.accepts_connections(stage).await
    }

    /// How many backends were forked so far, from Postgres' own log.
    pub fn backends_forked(&self) -> usize {
        self.log().matches("connection received").count()
    }

    /// What the administrator's psql prints for some SQL: values only, past every proxy.
    pub fn sql(&self, stage: &Stage, database: &str, sql: &str) -> Result<String> {
        Ok(self.administer(stage, database, "--command", sql)?.trim().to_owned())
    }

    fn administer(
        &self,
        stage: &Stage,
        database: &str,
        how: &str,
        what: impl AsRef<OsStr>,
    ) -> Result<String> {
        Launch::new("psql", &self.psql, &stage.accounts.postgres)
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
            .args(["--set=ON_ERROR_STOP=1", "--username=postgres", "--dbname", database, "--host"])
            .arg(&self.directory)
            .arg(how)
            .arg(what)
            .output()
    }

    async fn accepts_connections(&mut self, stage: &Stage) -> Result<()> {
        until("Postgres accepts connections", PATIENCE, async || {
            self.process.as_mut().context("Postgres is not running")?.alive()?;
            self.sql(stage, "postgres", "select").map(drop)
        })
        .await
    }
}

/// A session on the Unix socket in `directory`, be it Postgres' own or a sidecar's.
pub async fn connect(directory: &Path, user: &str, database: &str) -> Result<Client> {
    let mut config = Config::new();
    config.host_path(directory).user(user).dbname(database);
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Writes the settings: the example's, and beside them only what a test needs to be quick and alone.
fn configure(wanted: &str, files: &PostgresFiles, data: &Path, directory: &Path) -> Result<()> {
    let defaults = fs::read_to_string(data.join("postgresql.conf"))?;
    let (at, more) = (directory.display(), &files.settings);
    let settings = format!(
        "{defaults}{wanted}unix_socket_directories = '{at}'\nfsync = off\nshared_buffers = 32MB\n{more}"
    );
    fs::write(data.join("postgresql.conf"), settings)?;
    Ok(())
}
