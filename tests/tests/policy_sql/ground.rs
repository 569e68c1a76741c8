//! A server, a policy, and `signet` run by the server's administrator.

use std::path::PathBuf;

use e2e::{Account, Launch, Postgres, PostgresFiles, PostgresVersion, Stage};
use serde_json::Value;

/// Two workloads, one of which becomes the roles of its callers.
pub(crate) const POLICY: &str = "\
version: 1
trust_domain: example.org
postgres:
  - { name: app-uses, from: [/app], to: [/db], databases: [customers], login_role: app, may_act_as: [reader, writer] }
  - { name: report-reads, from: [/report], to: [/db], databases: [customers, archive], login_role: reader }
";

pub(crate) struct Ground {
    pub(crate) postgres: Postgres,
    pub(crate) stage: Stage,
    version: PostgresVersion,
    policy: PathBuf,
    signet: PathBuf,
}

/// What a run of `signet` gave.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The findings of a check, as thing and what was found.
    pub(crate) fn findings(&self) -> Vec<(String, String)> {
        let report = self.json();
        let findings = report["findings"].as_array().unwrap_or_else(|| panic!("{self:?}"));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        findings.iter().map(|f| (text(&f["thing"]), text(&f["found"]))).collect()
    }
}

impl Ground {
    /// An empty server with these settings, `$ADDRESS` in them being one of its own, and a policy.
    pub(crate) async fn bare(version: PostgresVersion, policy: &str, settings: &str) -> Self {
        let stage = Stage::set(None).unwrap();
        let settings = settings.replace("$ADDRESS", &stage.address.to_string());
        let files = PostgresFiles { settings, ..PostgresFiles::default() };
        let postgres = Postgres::start_empty(&stage, version, &files).await.unwrap();
        let signet = stage.within_reach(&stage.programs.own("signet").unwrap()).unwrap();
        let file = stage.path().join("policy.yaml");
        std::fs::write(&file, policy).unwrap();
        Self { postgres, stage, version, policy: file, signet }
    }

    /// A server with these databases, and all that the policy asks.
    pub(crate) async fn applied(
        version: PostgresVersion,
        policy: &str,
        databases: &[&str],
    ) -> Self {
        let ground = Self::bare(version, policy, "").await;
        for database in databases {
            ground
                .sql("postgres", &format!("create database \"{}\"", database.replace('"', "\"\"")));
        }
        ground.apply();
        ground.let_in(&ground.files(&[])).await;
        ground
    }

    /// `signet policy sql` about the policy, by an account.
    pub(crate) fn signet_as(&self, account: &Account, arguments: &[&str]) -> Run {
        let launch = Launch::new("signet", &self.signet, account)
            .args(["policy", "sql"])
            .arg(&self.policy)
            .args(["--database", "/db", "--envoy-user", &self.stage.accounts.mesh.name])
            .args(arguments)
            .env("PGHOST", self.postgres.directory());
        let (code, out, err) = launch.ended("").unwrap();
        Run { code, out, err }
    }

    pub(crate) fn signet(&self, arguments: &[&str]) -> Run {
        self.signet_as(&self.stage.accounts.postgres, arguments)
    }

    /// One part of what it writes for this server.
    pub(crate) fn part(&self, part: &str, more: &[&str]) -> String {
        let version = self.version.number();
        let arguments = [&["--postgres-version", version, "--part", part], more].concat();
        let run = self.signet(&arguments);
        assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{run:?}");
        run.out
    }

    /// Runs the SQL that it writes.
    pub(crate) fn apply(&self) {
        self.sql("postgres", &self.part("sql", &[]));
    }

    /// The files that it writes.
    pub(crate) fn files(&self, more: &[&str]) -> PostgresFiles {
        let (hba, ident) = (self.part("hba", more), self.part("ident", more));
        PostgresFiles { settings: String::new(), hba, ident }
    }

    pub(crate) async fn let_in(&self, files: &PostgresFiles) {
        self.postgres.let_in(&self.stage, files).await.unwrap();
    }

    /// Checks the server; `-o json`.
    pub(crate) fn check(&self, more: &[&str]) -> Run {
        self.signet(&[&["--check", "--url", "user=postgres", "-o", "json"], more].concat())
    }

    /// Asserts that nothing differs.
    pub(crate) fn is_clean(&self, why: &str) {
        let run = self.check(&[]);
        assert_eq!(run.code, Some(0), "{why}: {run:?}");
        assert_eq!(run.json()["not_checked"], serde_json::json!([]), "{run:?}");
    }

    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        self.postgres.sql(&self.stage, database, sql).unwrap()
    }

    /// Logs in over the Unix socket; the session's user, or what Postgres said.
    pub(crate) fn logs_in(
        &self,
        account: &Account,
        role: &str,
        database: &str,
    ) -> Result<String, String> {
        let launch = Launch::new("psql", self.stage.programs.psql().unwrap(), account)
            .args(["--no-psqlrc", "-At", "--command", "select session_user"])
            .env("PGHOST", self.postgres.directory())
            .env("PGUSER", role)
            .env("PGDATABASE", database);
        let (code, out, err) = launch.ended("").unwrap();
        if code == Some(0) { Ok(out.trim_end_matches('\n').to_owned()) } else { Err(err) }
    }
}
