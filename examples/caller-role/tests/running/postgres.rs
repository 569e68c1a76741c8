//! A Postgres 15 of Debian in a private directory, with the customers of `examples/db`.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

const BIN: &str = "/usr/lib/postgresql/15/bin";

/// What `signet policy sql` asks for the policy of the examples, in short.
const ROLES: &str = "create role customers_reader login;
    create role customers_writer login;
    create role api login noinherit;
    grant customers_reader, customers_writer to api";
const CONNECT: &str =
    "grant connect on database customers to api, customers_reader, customers_writer";

/// Stopped when dropped.
pub(crate) struct Postgres {
    directory: TempDir,
}

impl Postgres {
    /// Makes a cluster where each local user may be any role (the map is the e2e tests' matter), with every table.
    pub(crate) async fn start() -> Self {
        let directory =
            tempfile::Builder::new().permissions(Permissions::from_mode(0o755)).tempdir().unwrap();
        let postgres = Self { directory };
        std::fs::create_dir(postgres.path()).unwrap();
        if let Some((uid, gid)) = unprivileged() {
            chown(postgres.path(), Some(uid), Some(gid)).unwrap();
        }
        let data = postgres.path().join("data");
        run(Command::new(format!("{BIN}/initdb"))
            .args(["-A", "trust", "-U", "postgres", "--no-sync", "-D"])
            .arg(&data));
        let options =
            format!("-c listen_addresses='' -c fsync=off -k {}", postgres.path().display());
        run(Command::new(format!("{BIN}/pg_ctl"))
            .args(["-w", "-o", &options, "-l"])
            .arg(postgres.path().join("log"))
            .arg("-D")
            .arg(&data)
            .arg("start"));
        postgres.set_up().await;
        postgres
    }

    async fn set_up(&self) {
        let customers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../db/customers.sql");
        let customers = std::fs::read_to_string(customers).unwrap();
        let administrator = self.connect("postgres").await;
        for sql in [ROLES, "create database customers", CONNECT] {
            administrator.batch_execute(sql).await.unwrap();
        }
        self.connect("customers").await.batch_execute(&customers).await.unwrap();
    }

    /// The directory of its socket.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("postgres")
    }

    /// A connection of the administrator.
    pub(crate) async fn connect(&self, database: &str) -> Client {
        let config = format!("host={} user=postgres dbname={database}", self.path().display());
        let (client, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

impl Postgres {
    /// Waits until `count` backends satisfy `condition`.
    pub(crate) async fn wait_for(&self, condition: &str, count: i64) {
        let administrator = self.connect("postgres").await;
        let sql = format!("select count(*) from pg_stat_activity where {condition}");
        let met = async {
            while administrator.query_one(&sql, &[]).await.unwrap().get::<_, i64>(0) != count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), met).await.expect(condition);
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        run(Command::new(format!("{BIN}/pg_ctl"))
            .args(["-w", "-m", "immediate", "-D"])
            .arg(self.path().join("data"))
            .arg("stop"));
    }
}

/// Postgres refuses to run as root; then it is Debian's user `postgres`, who owns this directory.
fn unprivileged() -> Option<(u32, u32)> {
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let home =
        || std::fs::metadata("/var/lib/postgresql").expect("Debian's postgresql is installed");
    root.then(|| (home().uid(), home().gid()))
}

fn run(command: &mut Command) {
    if let Some((uid, gid)) = unprivileged() {
        command.uid(uid).gid(gid);
    }
    let output = command.current_dir("/").output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
