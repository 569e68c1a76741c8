//! Roles, grants and files, applied: they do what they say, once and again.

use e2e::{
    PATIENCE,
    PostgresVersion::{self, V15, V18},
    until,
};

use crate::ground::{Ground, POLICY};

/// All that the SQL may have touched.
const STATE: &str = "
    select 'role', r::text from pg_authid r where rolname !~ '^pg_'
    union all select 'member', m::text from pg_auth_members m
    union all select 'database', datname || coalesce(datacl::text, '') from pg_database
    order by 1, 2";

async fn is_idempotent(version: PostgresVersion) {
    let ground = Ground::bare(version, POLICY, "").await;
    ground.sql("postgres", "create database customers");
    let before = ground.check(&["--keep-passwords"]);
    assert_eq!(before.code, Some(1), "{before:?}");
    assert!(before.findings().contains(&("role \"app\"".to_owned(), "not there".to_owned())));
    assert!(
        before.findings().contains(&("database \"archive\"".to_owned(), "not there".to_owned()))
    );

    // A database that isn't there yet keeps nothing else from being done.
    ground.apply();
    ground.sql("postgres", "create database archive");
    ground.apply();
    let once = ground.sql("postgres", STATE);
    assert!(once.contains("app") && once.contains("customers"), "{once}");
    ground.apply();
    assert_eq!(ground.sql("postgres", STATE), once);

    ground.let_in(&ground.files(&[])).await;
    ground.is_clean("all is applied");
    let run = ground.signet(&["--check", "--url", "user=postgres"]);
    assert!(run.out.starts_with("no difference between PostgreSQL 1"), "{run:?}");

    // The API has the rights of a role only by becoming it.
    ground.sql("customers", "create table t (); grant select on t to reader");
    let becomes = |sql: &str| {
        ground.postgres.sql(
            &ground.stage,
            "customers",
            &format!("set session authorization app; {sql}"),
        )
    };
    assert!(becomes("select from t").unwrap_err().to_string().contains("permission denied"));
    becomes("select set_config('role', 'reader', true); select from t").unwrap();
    assert!(becomes("set role postgres").unwrap_err().to_string().contains("permission denied"));
}

#[tokio::test(flavor = "multi_thread")]
async fn twice_is_as_once_on_15() {
    is_idempotent(V15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twice_is_as_once_on_18() {
    is_idempotent(V18).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_script_of_another_version_stops_before_it_begins() {
    let ground = Ground::bare(V15, POLICY, "").await;
    let script = ground.signet(&["--postgres-version", "18", "--part", "sql"]).out;
    let refused = ground.postgres.sql(&ground.stage, "postgres", &script).unwrap_err().to_string();
    assert!(
        refused.contains("syntax error") || refused.contains("written for PostgreSQL 16"),
        "{refused}"
    );
    assert_eq!(ground.sql("postgres", "select count(*) from pg_roles where rolname = 'app'"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superuser_becomes_no_login_role_unawares() {
    let ground = Ground::bare(V18, POLICY, "").await;
    ground.sql("postgres", "create role app superuser");
    let script = ground.part("sql", &[]);
    let refused = ground.postgres.sql(&ground.stage, "postgres", &script).unwrap_err().to_string();
    assert!(refused.contains("role app may do more than a workload should"), "{refused}");
    assert_eq!(
        ground.sql("postgres", "select count(*) from pg_roles where rolname = 'reader'"),
        "0"
    );
}

/// Names that mean something to SQL, to `pg_hba.conf`, or to the operating system.
const ODD: &[&str] = &[
    "Reader",
    "all",
    "a b,c",
    "+signet_logins",
    "@roles",
    "/slash.x",
    "back\\slash'",
    "x\"; create role evil superuser; --",
    "$signet$; create role evil superuser; --",
    "replication",
];

async fn odd_names_are_names(version: PostgresVersion) {
    let root = e2e::Accounts::choose().unwrap().harness.name;
    let roles: Vec<&str> = ODD.iter().copied().chain([root.as_str()]).collect();
    let databases = ["/customers.x", "all\"'; --", "replication"];
    let list = |names: &[&str]| serde_json::to_string(names).unwrap();
    let policy = format!(
        "version: 1\ntrust_domain: example.org\npostgres:\n  - {{ name: odd, from: [/app], to: [/db], databases: {}, login_role: \"odd app\", may_act_as: {} }}\n",
        list(&databases),
        list(&roles),
    );
    let ground = Ground::applied(version, &policy, &databases).await;
    ground.sql("postgres", "create database customersyx");
    ground.is_clean("all is applied");
    assert_eq!(ground.sql("postgres", "select count(*) from pg_roles where rolname = 'evil'"), "0");

    let accounts = &ground.stage.accounts;
    for role in roles.iter().chain(&["odd app"]) {
        for database in databases {
            assert_eq!(
                ground.logs_in(&accounts.mesh, role, database).as_deref(),
                Ok(*role),
                "{database}"
            );
            // Not even who has the role's own name, nor the administrator.
            for stranger in accounts.strangers().unwrap() {
                let refused = ground.logs_in(stranger, role, database).unwrap_err();
                assert!(
                    refused.contains("Peer authentication failed"),
                    "{role} {database}: {refused}"
                );
            }
        }
        for database in ["postgres", "customersyx"] {
            let refused = ground.logs_in(&accounts.harness, role, database).unwrap_err();
            assert!(
                refused.contains("pg_hba.conf rejects connection"),
                "{role} {database}: {refused}"
            );
        }
    }
    assert!(ground.logs_in(&accounts.mesh, "postgres", "postgres").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_names_are_names_on_15() {
    odd_names_are_names(V15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_names_are_names_on_18() {
    odd_names_are_names(V18).await;
}

/// A rule for every database, and two roles of names that need quotes.
const ANYWHERE: &str = "\
version: 1
trust_domain: example.org
postgres:
  - { name: anywhere, from: [/ops], to: [/db], databases: ['*'], login_role: 'Ops''s', may_act_as: [reader] }
";

/// Where PUBLIC may connect nothing is granted; where it may not, by name; where there is a database more, the check tells.
async fn every_database_is_one_that_there_is(version: PostgresVersion) {
    const GRANTS: &str = "select datname || ' ' || a.grantee::regrole::text
        from pg_database, aclexplode(datacl) a
        where a.privilege_type = 'CONNECT' and a.grantee <> 0 and a.grantee::regrole::text <> 'postgres'
        order by 1";
    let ground = Ground::applied(version, ANYWHERE, &["open", "Shut"]).await;
    assert_eq!(ground.sql("postgres", GRANTS), "");
    ground.is_clean("PUBLIC may connect everywhere");

    let missing = |database: &str| {
        let of = |role: &str| (format!("{role} in database {database}"), "it can't connect".into());
        [of("\"Ops's\""), of("\"reader\"")]
    };
    ground.sql("postgres", "revoke connect on database \"Shut\" from public");
    assert_eq!(ground.check(&[]).findings(), missing("\"Shut\""));
    ground.apply();
    assert_eq!(ground.sql("postgres", GRANTS), "Shut \"Ops's\"\nShut reader");
    ground.is_clean("both may connect by name");
    let mesh = &ground.stage.accounts.mesh;
    assert_eq!(ground.logs_in(mesh, "Ops's", "Shut").as_deref(), Ok("Ops's"));

    ground.sql("postgres", "create database later");
    ground.is_clean("PUBLIC may connect to it");
    ground.sql("postgres", "revoke connect on database later from public");
    assert_eq!(ground.check(&[]).findings(), missing("\"later\""));
    ground.apply();
    ground.is_clean("run again");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_database_is_one_that_there_is_on_15() {
    every_database_is_one_that_there_is(V15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_database_is_one_that_there_is_on_18() {
    every_database_is_one_that_there_is(V18).await;
}

/// A rule that means it: the administrator's own role, one that replicates, one of `pg_*`.
const PRIVILEGED: &str = "\
version: 1
trust_domain: example.org
postgres:
  - { name: admin, from: [/ops], to: [/db], databases: [customers], login_role: postgres, allow_privileged: true }
  - { name: copies, from: [/replica], to: [/db], databases: ['*'], login_role: copier, replication: true, allow_privileged: true }
  - { name: watches, from: [/watch], to: [/db], databases: [customers], login_role: watcher, may_act_as: [pg_monitor], allow_privileged: true }
";

async fn privileged_is_what_says_so(version: PostgresVersion) {
    let ground = Ground::applied(version, PRIVILEGED, &["customers"]).await;
    // Behind ours, as a person would have it.
    let hba = ground.postgres.directory().join("data/pg_hba.conf");
    let lines = std::fs::read_to_string(&hba).unwrap();
    let (administrator, ours) = lines.split_once('\n').unwrap();
    std::fs::write(&hba, format!("{ours}{administrator}\n")).unwrap();
    ground.sql("postgres", "select pg_reload_conf()");
    ground.is_clean("all is applied");
    let accounts = &ground.stage.accounts;
    until("Postgres has read it", PATIENCE, async || {
        ground.logs_in(&accounts.mesh, "postgres", "customers").map_err(anyhow::Error::msg)
    })
    .await
    .unwrap();
    assert_eq!(ground.logs_in(&accounts.mesh, "postgres", "customers").as_deref(), Ok("postgres"));
    // The administrator is locked out of nothing.
    assert_eq!(
        ground.logs_in(&accounts.postgres, "postgres", "customers").as_deref(),
        Ok("postgres")
    );
    let attributes = "select rolreplication, rolsuper from pg_roles where rolname = 'copier'";
    assert_eq!(ground.sql("postgres", attributes), "t|f");
    let connection = "dbname=customers replication=true";
    let launch = |account, role| {
        e2e::Launch::new("psql", ground.stage.programs.psql().unwrap(), account)
            .args(["-At", "--command", "IDENTIFY_SYSTEM", connection])
            .env("PGHOST", ground.postgres.directory())
            .env("PGUSER", role)
            .ended("")
            .unwrap()
    };
    assert_eq!(launch(&accounts.mesh, "copier").0, Some(0));
    assert_ne!(launch(&accounts.mesh, "watcher").0, Some(0));
    let becomes = "set session authorization watcher; set role pg_monitor; select current_user";
    assert_eq!(ground.sql("customers", becomes), "pg_monitor");
    // The same without the word for it.
    let unmeant = PRIVILEGED.replace(
        "login_role: copier, replication: true, allow_privileged: true",
        "login_role: copier, replication: true",
    );
    std::fs::write(ground.stage.path().join("policy.yaml"), unmeant).unwrap();
    let found = ground.check(&[]);
    assert!(
        found
            .findings()
            .iter()
            .any(|(thing, found)| thing == "role \"copier\"" && found.contains("replicate")),
        "{found:?}"
    );
    assert!(
        found.json()["notes"].to_string().contains("rule copies lets clients replicate"),
        "{found:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_is_what_says_so_on_15() {
    privileged_is_what_says_so(V15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_is_what_says_so_on_18() {
    privileged_is_what_says_so(V18).await;
}
