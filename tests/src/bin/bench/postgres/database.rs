//! The one Postgres of all cases: stock, with the tables of `pgbench`.

use std::{fs, path::PathBuf};

use anyhow::Result;
use e2e::{Launch, PATIENCE, PostgresVersion, Process, Stage, until};
use rustix::process::Signal;

use super::certificates::Authority;

/// The version that is measured, and that of `pgbench`.
pub(super) const VERSION: PostgresVersion = PostgresVersion::V15;
/// The database, and the role that owns its tables.
pub(super) const BENCH: &str = "bench";
/// Who must give a password, and which.
pub(super) const PASSWORDED: &str = "passworded";

/// A running server.
#[derive(Debug)]
pub(super) struct Database {
    process: Process,
    /// The directory of its socket.
    pub(super) directory: PathBuf,
    pub(super) port: u16,
}

impl Database {
    /// Makes a cluster that is reached by TCP, by TLS and by a Unix socket, and fills it.
    pub(super) async fn start(stage: &Stage, authority: &Authority, scale: u32) -> Result<Self> {
        let installation = stage.within_reach(&stage.programs.postgres(VERSION)?)?;
        let owner = &stage.accounts.postgres;
        let directory = stage.directory("postgres", owner)?;
        let data = directory.join("data");
        Launch::new("initdb", installation.join("bin/initdb"), owner)
            .args(["--no-sync", "--encoding=UTF8", "--locale=C", "--username=postgres"])
            .args(["--auth=peer", "--pgdata"])
            .arg(&data)
            .output()?;
        let port = stage.free_port()?;
        let certificate = authority.issue(stage, "postgres-tls", "postgres", owner)?;
        let settings = format!(
            "{}
listen_addresses = '{}'
port = {port}
unix_socket_directories = '{}'
ssl = on
ssl_cert_file = '{}'
ssl_key_file = '{}'
ssl_ca_file = '{}'
ssl_min_protocol_version = 'TLSv1.3'
fsync = off
synchronous_commit = off
full_page_writes = off
autovacuum = off
checkpoint_timeout = '1h'
max_wal_size = '4GB'
shared_buffers = '256MB'
",
            fs::read_to_string(data.join("postgresql.conf"))?,
            stage.address,
            directory.display(),
            certificate.certificate.display(),
            certificate.key.display(),
            certificate.authority.display(),
        );
        fs::write(data.join("postgresql.conf"), settings)?;
        let mesh = &stage.accounts.mesh.name;
        fs::write(
            data.join("pg_hba.conf"),
            format!(
                "local all postgres peer map=administrator
local {BENCH} {BENCH} peer map=mesh
hostnossl {BENCH} {BENCH} 127.0.0.0/8 trust
hostnossl {BENCH} {PASSWORDED} 127.0.0.0/8 scram-sha-256
hostssl {BENCH} {BENCH} 127.0.0.0/8 cert
"
            ),
        )?;
        fs::write(
            data.join("pg_ident.conf"),
            format!("administrator {} postgres\nmesh {mesh} {BENCH}\n", owner.name),
        )?;
        let process = Launch::new("postgres", installation.join("bin/postgres"), owner)
            .arg("-D")
            .arg(&data)
            .stopped_by(Signal::INT)
            .start(stage)?;
        let mut database = Self { process, directory, port };
        until("Postgres accepts connections", PATIENCE, async || {
            database.process.alive()?;
            database.sql(stage, "postgres", "select")
        })
        .await?;
        database.fill(stage, scale)?;
        Ok(database)
    }

    /// Its Unix socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.directory.join(format!(".s.PGSQL.{}", self.port))
    }

    /// Makes every round begin with tables of the same size.
    pub(super) fn tidy(&self, stage: &Stage) -> Result<()> {
        let tables = "pgbench_accounts, pgbench_branches, pgbench_tellers";
        self.sql(stage, BENCH, "truncate pgbench_history")?;
        self.sql(stage, BENCH, &format!("vacuum {tables}"))
    }

    fn fill(&self, stage: &Stage, scale: u32) -> Result<()> {
        self.sql(stage, "postgres", &format!("create role {BENCH} login"))?;
        let passworded =
            format!("create role {PASSWORDED} login password '{PASSWORDED}' in role {BENCH}");
        self.sql(stage, "postgres", &passworded)?;
        self.sql(stage, "postgres", &format!("create database {BENCH} owner {BENCH}"))?;
        let installation = stage.programs.postgres(VERSION)?;
        Launch::new("pgbench", installation.join("bin/pgbench"), &stage.accounts.mesh)
            .args(["--initialize", "--quiet", &format!("--scale={scale}")])
            .args([format!("--username={BENCH}"), format!("--port={}", self.port)])
            .arg("--host")
            .arg(&self.directory)
            .arg(BENCH)
            .output()?;
        Ok(())
    }

    fn sql(&self, stage: &Stage, database: &str, sql: &str) -> Result<()> {
        Launch::new("psql", stage.programs.psql()?, &stage.accounts.postgres)
            .args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--username=postgres"])
            .args(["--dbname", database, &format!("--port={}", self.port), "--host"])
            .arg(&self.directory)
            .args(["--command", sql])
            .output()?;
        Ok(())
    }
}
