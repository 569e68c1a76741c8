//! What `signet policy sql` writes: the exact text is the test. Real servers take it in the end-to-end tests.

mod command;

use command::signet;

const POLICY: &str = "\
version: 1
trust_domain: example.org
workloads: { app: /app, db: /db }
postgres:
  - { name: uses, from: [app], to: [db], databases: [customers], login_role: app, may_act_as: [Reader] }
  - { name: all, from: [/ops], to: [db], databases: ['*'], login_role: ops }
";

fn sql(arguments: &[&str], policy: &str) -> command::Run {
    signet(&[&["policy", "sql", "-", "--database", "db"], arguments].concat(), policy)
}

#[test]
fn the_sql_of_15() {
    let run = sql(&["--postgres-version", "15", "--part", "sql"], POLICY);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    assert_eq!(
        run.out,
        r#"-- PostgreSQL 15 behind spiffe://example.org/db, by `signet policy sql`.
-- Run it as the administrator, in any database. It can be run again; it drops nothing and revokes nothing.
begin;
set local search_path = pg_catalog, pg_temp;
do $signet$ begin
  if current_setting('server_version_num')::int >= 160000 then
    raise exception 'written for PostgreSQL 15, and this is %', current_setting('server_version')
      using hint = 'write it anew with --postgres-version';
  end if;
end $signet$;

-- Reader logs in: uses
do $signet$ begin
  if not exists (select from pg_roles where rolname = 'Reader') then
    create role "Reader" nosuperuser nocreatedb nocreaterole noreplication nobypassrls;
  elsif exists (select from pg_roles where rolname = 'Reader'
      and (rolsuper or rolcreatedb or rolcreaterole or rolreplication or rolbypassrls)) then
    raise exception 'role % may do more than a workload should', 'Reader'
      using hint = '`signet policy sql --check` tells what; take it away, or say `allow_privileged: true`';
  end if;
end $signet$;
alter role "Reader" login;

-- app logs in: uses
do $signet$ begin
  if not exists (select from pg_roles where rolname = 'app') then
    create role "app" nosuperuser nocreatedb nocreaterole noreplication nobypassrls;
  elsif exists (select from pg_roles where rolname = 'app'
      and (rolsuper or rolcreatedb or rolcreaterole or rolreplication or rolbypassrls)) then
    raise exception 'role % may do more than a workload should', 'app'
      using hint = '`signet policy sql --check` tells what; take it away, or say `allow_privileged: true`';
  end if;
end $signet$;
alter role "app" login noinherit;

-- ops logs in: all
do $signet$ begin
  if not exists (select from pg_roles where rolname = 'ops') then
    create role "ops" nosuperuser nocreatedb nocreaterole noreplication nobypassrls;
  elsif exists (select from pg_roles where rolname = 'ops'
      and (rolsuper or rolcreatedb or rolcreaterole or rolreplication or rolbypassrls)) then
    raise exception 'role % may do more than a workload should', 'ops'
      using hint = '`signet policy sql --check` tells what; take it away, or say `allow_privileged: true`';
  end if;
end $signet$;
alter role "ops" login;

-- app may become Reader: uses
grant "Reader" to "app";

-- who may connect: uses
do $signet$ begin
  if exists (select from pg_database where datname = 'customers') then
    grant connect on database "customers" to "Reader", "app";
  else
    raise warning 'there is no database %, run this again when there is', 'customers';
  end if;
end $signet$;

-- who may connect to every database: all
do $signet$ begin
  declare
    role_name text;
    database_name text;
  begin
    for role_name, database_name in
      select role, datname from pg_database, unnest(array['ops']) role
      where datallowconn and not datistemplate and not has_database_privilege(role, oid, 'connect')
    loop
      execute format('grant connect on database %I to %I', database_name, role_name);
    end loop;
  end;
end $signet$;

commit;

-- Note: every database is meant by all: CONNECT is granted in those that there are, to whoever has it neither by name nor through PUBLIC; run this again when there are more.
-- Note: no right on a table is granted here: that is for the tables' owner, to the roles that work with them, not to a login_role that only becomes these.
"#
    );
}

#[test]
fn the_files() {
    let part = |arguments: &[&str]| sql(arguments, POLICY).out;
    assert_eq!(
        part(&["--postgres-version", "16", "--part", "hba"]),
        "\
# pg_hba.conf of PostgreSQL 16 and later behind spiffe://example.org/db, by `signet policy sql`.
# The first line that fits decides: these belong before all lines that name these roles or `all`.

# uses
local   customers   Reader,app   peer map=signet

# all
local   all   ops   peer map=signet

# There is no other way in for these roles: neither a password nor another local user.
local   all,replication   Reader,app,ops   reject
host    all,replication   Reader,app,ops   all   reject
"
    );
    let keeping = part(&["--postgres-version", "16", "--part", "hba", "--keep-passwords"]);
    assert!(!keeping.contains("reject"), "{keeping}");
    let ident = part(&[
        "--postgres-version",
        "15",
        "--part",
        "ident",
        "--envoy-user",
        "proxy",
        "--map",
        "mesh",
    ]);
    let lines: Vec<&str> = ident.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines, ["mesh   proxy   Reader", "mesh   proxy   app", "mesh   proxy   ops"]);
    let ident = part(&["--postgres-version", "18", "--part", "ident", "--map", "mesh"]);
    assert!(ident.ends_with("\nmesh   envoy   +mesh_logins\n"), "{ident}");
}

#[test]
fn as_json() {
    let run = sql(&["--postgres-version", "18", "-o", "json"], POLICY);
    let found = run.json();
    assert_eq!(found["workload"], "spiffe://example.org/db");
    assert_eq!(found["roles"], serde_json::json!(["Reader", "app", "ops"]));
    assert_eq!(found["notes"].as_array().unwrap().len(), 2);
    for (key, part) in [("sql", "sql"), ("pg_hba", "hba"), ("pg_ident", "ident")] {
        assert_eq!(
            found[key],
            sql(&["--postgres-version", "18", "--part", part], POLICY).out,
            "{key}"
        );
    }
    let whole = sql(&["--postgres-version", "18"], POLICY).out;
    assert!(
        whole.contains(found["sql"].as_str().unwrap())
            && whole.contains(found["pg_ident"].as_str().unwrap())
    );
}

#[test]
fn what_cannot_be_written() {
    let with = |from: &str, to: &str| POLICY.replace(from, to);
    let circle = with("login_role: ops", "login_role: Reader, may_act_as: [app]");
    for (policy, arguments, told) in [
        (circle, &["--postgres-version", "18"][..], "`Reader` and `app` may become each other"),
        (
            with("[customers]", "[\"a\\nb\"]"),
            &["--postgres-version", "18"],
            "a Postgres database has no control characters here",
        ),
        (
            with("login_role: ops", "login_role: mesh_logins"),
            &["--postgres-version", "18", "--map", "mesh"],
            "choose another --map",
        ),
        (
            POLICY.replace("db: /db", "dbb: /db"),
            &["--postgres-version", "18"],
            "unknown workload `db`",
        ),
    ] {
        let run = sql(arguments, &policy);
        assert_eq!((run.code, run.out.as_str()), (1, ""), "{told}");
        assert!(run.err.contains(told), "{told}\n{}", run.err);
    }
    for arguments in [
        &[][..],
        &["--postgres-version", "14"],
        &["--postgres-version", "18", "--envoy-user", "/^.*$"],
        &["--postgres-version", "18", "--map", "m e"],
        &["--postgres-version", "18", "--check"],
        &["--postgres-version", "18", "--url", "x"],
    ] {
        assert_eq!(sql(arguments, POLICY).code, 2, "{arguments:?}");
    }
    let nobody =
        signet(&["policy", "sql", "-", "--database", "app", "--postgres-version", "18"], POLICY);
    assert_eq!(
        (nobody.code, nobody.err.as_str()),
        (0, "note: no postgres rule is for spiffe://example.org/app\n")
    );
}

#[test]
fn the_order_of_rules_means_nothing() {
    let (head, rules) = POLICY.split_once("  - ").unwrap();
    let (first, second) = rules.split_once("  - ").unwrap();
    let turned = format!("{head}  - {second}  - {first}");
    let whole = |policy| sql(&["--postgres-version", "18"], policy).out;
    assert_eq!(whole(POLICY), whole(&turned));
}
