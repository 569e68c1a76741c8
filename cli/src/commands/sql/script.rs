//! The SQL that makes roles and grants.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::dialect::Dialect;
use super::quote::{block, identifier, identifiers, literal};
use super::wanted::{Role, Rules, Wanted, is_predefined};

/// The script for the administrator: one transaction, which changes nothing the second time. Whoever owns the database in
/// which it runs may have made functions there that fit its calls better than Postgres' own: these are not seen.
pub(super) fn script(wanted: &Wanted, dialect: &Dialect) -> String {
    let mut text = format!(
        "\
-- {} behind {}, by `signet policy sql`.
-- Run it as the administrator, in any database. It can be run again; it drops nothing and revokes nothing.
begin;
set local search_path = pg_catalog, pg_temp;
",
        dialect.versions(),
        wanted.workload
    );
    text += &right_version(dialect);
    for (name, role) in wanted.own() {
        let _ = write!(
            text,
            "\n{}{}",
            asked_by(&format!("{name} logs in"), &role.rules),
            login_role(name, role)
        );
    }
    for ((member, role), rules) in &wanted.memberships {
        let _ = writeln!(
            text,
            "\n{}grant {} to {}{};",
            asked_by(&format!("{member} may become {role}"), rules),
            identifier(role),
            identifier(member),
            dialect.becoming()
        );
    }
    let logins: Vec<_> = wanted.own().map(|(name, _)| name).collect();
    if let Some(group) = dialect.group().filter(|_| !logins.is_empty()) {
        let _ = write!(
            text,
            "
-- Whom pg_ident.conf lets Envoy be. A mark, which gives its members no right.
{}grant {} to {} with inherit false, set false;
",
            create(&group, "nologin"),
            identifier(&group),
            identifiers(logins)
        );
    }
    for (database, visitors) in &wanted.databases {
        let _ = write!(
            text,
            "\n{}{}",
            asked_by("who may connect", &visitors.rules),
            connect(database, &identifiers(&visitors.roles))
        );
    }
    let anywhere = &wanted.any_database;
    if !anywhere.roles.is_empty() {
        let _ = write!(
            text,
            "\n{}{}",
            asked_by("who may connect to every database", &anywhere.rules),
            connect_anywhere(&anywhere.roles)
        );
    }
    text += "\ncommit;\n";
    for note in wanted.notes.iter().chain(&hints(wanted)) {
        let _ = write!(text, "\n-- Note: {note}.");
    }
    text + if wanted.roles.is_empty() { "" } else { "\n" }
}

/// What is left to whoever owns the database.
pub(super) fn hints(wanted: &Wanted) -> Vec<String> {
    let mut hints = Vec::new();
    if !wanted.any_database.roles.is_empty() {
        let rules: Vec<_> = wanted.any_database.rules.iter().map(String::as_str).collect();
        hints.push(format!(
            "every database is meant by {}: CONNECT is granted in those that there are, to whoever has it neither by name nor through PUBLIC; run this again when there are more",
            rules.join(", ")
        ));
    }
    if wanted.own().next().is_some() {
        hints.push(
            "no right on a table is granted here: that is for the tables' owner, to the roles that work with them, not to a login_role that only becomes these"
                .to_owned(),
        );
    }
    hints
}

/// One comment line, which tells who asks.
fn asked_by(what: &str, rules: &Rules) -> String {
    let rules: Vec<_> = rules.iter().map(String::as_str).collect();
    format!("-- {what}: {}\n", rules.join(", "))
}

/// Says what is wrong before Postgres would complain of the syntax.
fn right_version(dialect: &Dialect) -> String {
    let (condition, written) = match dialect.version {
        16.. => ("< 160000", "16"),
        _ => (">= 160000", "15"),
    };
    let body = format!(
        "  if current_setting('server_version_num')::int {condition} then
    raise exception 'written for PostgreSQL {written}, and this is %', current_setting('server_version')
      using hint = 'write it anew with --postgres-version';
  end if;
"
    );
    block(&body)
}

/// Makes a role if it isn't there. What it is otherwise stays as it is: `--check` tells what is wrong with it.
pub(super) fn create(name: &str, attributes: &str) -> String {
    block(&format!(
        "  if not exists (select from pg_roles where rolname = {}) then
    create role {} {attributes};
  end if;
",
        literal(name),
        identifier(name)
    ))
}

/// The same, and stops where there is a role that may do more.
fn create_ordinary(name: &str, attributes: &str) -> String {
    block(&format!(
        "  if not exists (select from pg_roles where rolname = {0}) then
    create role {1} {attributes};
  elsif exists (select from pg_roles where rolname = {0}
      and (rolsuper or rolcreatedb or rolcreaterole or rolreplication or rolbypassrls)) then
    raise exception 'role % may do more than a workload should', {0}
      using hint = '`signet policy sql --check` tells what; take it away, or say `allow_privileged: true`';
  end if;
",
        literal(name),
        identifier(name)
    ))
}

fn login_role(name: &str, role: &Role) -> String {
    let attributes = "nosuperuser nocreatedb nocreaterole noreplication nobypassrls";
    let create =
        if role.privileged { create(name, attributes) } else { create_ordinary(name, attributes) };
    let inherit = if role.becomes_others { " noinherit" } else { "" };
    let replication = if role.replicates { " replication" } else { "" };
    format!("{create}alter role {} login{inherit}{replication};\n", identifier(name))
}

/// Lets roles connect to a database, which may be made later.
fn connect(database: &str, roles: &str) -> String {
    block(&format!(
        "  if exists (select from pg_database where datname = {0}) then
    grant connect on database {1} to {roles};
  else
    raise warning 'there is no database %, run this again when there is', {0};
  end if;
",
        literal(database),
        identifier(database)
    ))
}

/// Lets roles connect to every database that there is. Most need nothing: Postgres lets everybody, unless that was revoked.
fn connect_anywhere(roles: &BTreeSet<String>) -> String {
    let roles: Vec<String> = roles.iter().map(|role| literal(role)).collect();
    block(&format!(
        "  declare
    role_name text;
    database_name text;
  begin
    for role_name, database_name in
      select role, datname from pg_database, unnest(array[{}]) role
      where datallowconn and not datistemplate and not has_database_privilege(role, oid, 'connect')
    loop
      execute format('grant connect on database %I to %I', database_name, role_name);
    end loop;
  end;
",
        roles.join(", ")
    ))
}

/// The SQL that gives one role what [`script`] gives it.
pub(super) fn repaired_role(name: &str, role: &Role) -> String {
    if is_predefined(name) {
        return format!("alter role {} login;", identifier(name));
    }
    login_role(name, role).trim_end().to_owned()
}
