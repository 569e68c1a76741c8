//! Databases whose owners lie in wait for the administrator, with functions that fit a call better than Postgres' own.

use e2e::PostgresVersion::{self, V15, V18};

use crate::ground::Ground;

/// Its script asks for each database whether each role may connect.
const ANYWHERE: &str = "\
version: 1
trust_domain: example.org
postgres:
  - { name: anywhere, from: [/ops], to: [/db], databases: ['*'], login_role: reader }
";

/// What an owner may do in a database. Nobody has said where functions are looked for: Postgres takes the one whose
/// arguments fit without a cast.
const FUNCTION: &str = "
    set session authorization mallory;
    create function has_database_privilege(text, oid, text) returns boolean language plpgsql as
        'begin alter role mallory superuser; return false; end'";

/// The same for every call of this name, before Postgres' own.
const SCHEMA: &str = "
    set session authorization mallory;
    create function current_setting(text) returns text language plpgsql as
        'begin alter role mallory superuser; return pg_catalog.current_setting($1); end';
    alter database trap set search_path = public, pg_catalog";

async fn the_administrator_calls_no_function_of_an_owner(version: PostgresVersion) {
    let ground = Ground::applied(version, ANYWHERE, &[]).await;
    ground.sql("postgres", "create role mallory login");
    ground.sql("postgres", "create database trap owner mallory");
    for trap in [FUNCTION, SCHEMA] {
        ground.sql("trap", trap);
        ground.sql("trap", &ground.part("sql", &[]));
        let run = ground.signet(&["--check", "--url", "user=postgres dbname=trap"]);
        assert_eq!(run.code, Some(0), "{run:?}");
        let sql = "select rolsuper from pg_roles where rolname = 'mallory'";
        assert_eq!(ground.sql("postgres", sql), "f", "{trap}");
    }
    // Both do work.
    ground.sql("trap", "select current_setting('port')");
    ground.sql("postgres", "alter role mallory nosuperuser");
    ground.sql("trap", "select has_database_privilege('reader'::text, 1::oid, 'connect'::text)");
    assert_eq!(
        ground.sql("postgres", "select rolsuper from pg_roles where rolname = 'mallory'"),
        "t"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_administrator_calls_no_function_of_an_owner_on_15() {
    the_administrator_calls_no_function_of_an_owner(V15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_administrator_calls_no_function_of_an_owner_on_18() {
    the_administrator_calls_no_function_of_an_owner(V18).await;
}
