//! `PgBouncer` as Debian packages it, with its defaults but for TLS.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use e2e::{Launch, Process, Stage};

use super::{
    certificates::Authority,
    database::{BENCH, Database},
};

/// Where Debian installs it.
const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// A running one.
#[derive(Debug)]
pub(super) struct Bouncer {
    pub(super) process: Process,
    pub(super) port: u16,
}

impl Bouncer {
    /// Starts it in front of a database; it takes clients by their certificates and knows the database by `peer`.
    pub(super) fn start(
        stage: &Stage,
        name: &str,
        database: &Database,
        authority: &Authority,
    ) -> Result<Self> {
        let account = &stage.accounts.mesh;
        let directory = stage.directory(name, account)?;
        let tls = authority.issue(stage, &format!("{name}-tls"), "pgbouncer", account)?;
        let port = stage.free_port()?;
        fs::write(directory.join("users.txt"), format!("\"{BENCH}\" \"\"\n"))?;
        let settings = format!(
            "[databases]
{BENCH} = host={} port={} dbname={BENCH}
[pgbouncer]
listen_addr = {}
listen_port = {port}
unix_socket_dir =
auth_type = cert
auth_file = {}
client_tls_sslmode = verify-full
client_tls_protocols = tlsv1.3
client_tls_ca_file = {}
client_tls_cert_file = {}
client_tls_key_file = {}
",
            database.directory.display(),
            database.port,
            stage.address,
            directory.join("users.txt").display(),
            tls.authority.display(),
            tls.certificate.display(),
            tls.key.display(),
        );
        let file = directory.join("pgbouncer.ini");
        fs::write(&file, settings)?;
        let process = Launch::new(name, program()?, account).arg(file).start(stage)?;
        Ok(Self { process, port })
    }
}

/// Its version, as it says it.
pub(super) fn version() -> Result<String> {
    let output = std::process::Command::new(program()?).arg("--version").output()?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let first = printed.lines().next().unwrap_or_default();
    Ok(first.trim_start_matches("PgBouncer ").to_owned())
}

fn program() -> Result<&'static Path> {
    let program = Path::new(PROGRAM);
    program
        .exists()
        .then_some(program)
        .with_context(|| format!("{PROGRAM} is missing: run cargo xtask setup"))
}
