//! The lines of `pg_hba.conf` and `pg_ident.conf`.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::dialect::Dialect;
use super::quote::token;
use super::wanted::{Visitors, Wanted, is_predefined};
use crate::error::Error;

/// The lines that let Envoy in, as the mapped roles, and nobody else as one of these.
pub(super) fn hba(wanted: &Wanted, dialect: &Dialect) -> Result<String, Error> {
    let mut text = format!(
        "\
# pg_hba.conf of {} behind {}, by `signet policy sql`.
# The first line that fits decides: these belong before all lines that name these roles or `all`.
",
        dialect.versions(),
        wanted.workload
    );
    for (database, visitors) in &wanted.databases {
        let database = written(database, dialect)?;
        let _ = write!(text, "\n{}", entry(&database, visitors, dialect)?);
    }
    if !wanted.any_database.roles.is_empty() {
        let _ = write!(text, "\n{}", entry("all", &wanted.any_database, dialect)?);
        let visitors = wanted.replicating();
        if !visitors.roles.is_empty() {
            text += &entry("replication", &visitors, dialect)?;
        }
    }
    let closed: Vec<_> = wanted.own().map(|(name, _)| name.clone()).collect();
    if !dialect.keep_passwords && !closed.is_empty() {
        let roles = list(&closed, dialect)?;
        let _ = write!(
            text,
            "
# There is no other way in for these roles: neither a password nor another local user.
local   all,replication   {roles}   reject
host    all,replication   {roles}   all   reject
"
        );
    }
    Ok(text)
}

fn entry(database: &str, visitors: &Visitors, dialect: &Dialect) -> Result<String, Error> {
    let rules: Vec<_> = visitors.rules.iter().map(String::as_str).collect();
    let roles = list(&visitors.roles, dialect)?;
    Ok(format!("# {}\nlocal   {database}   {roles}   peer map={}\n", rules.join(", "), dialect.map))
}

fn list<'a>(
    roles: impl IntoIterator<Item = &'a String>,
    dialect: &Dialect,
) -> Result<String, Error> {
    let written: Result<Vec<_>, _> = roles.into_iter().map(|r| written(r, dialect)).collect();
    Ok(written?.join(","))
}

fn written(name: &str, dialect: &Dialect) -> Result<String, Error> {
    token(name, dialect.version).ok_or_else(|| Error::Unwritable(name.to_owned()))
}

/// Which roles the mapped users of the operating system may be.
pub(super) fn ident(wanted: &Wanted, dialect: &Dialect) -> Result<String, Error> {
    let mut text = format!(
        "\
# pg_ident.conf of {} behind {}, by `signet policy sql`.
# {} is the user that Envoy runs as: one of its own, never postgres.
#
# MAPNAME   SYSTEM-USERNAME   PG-USERNAME
",
        dialect.versions(),
        wanted.workload,
        dialect.envoy_user
    );
    let mut line = |user: &str, role: &str| {
        let user = written(user, dialect)?;
        let _ = writeln!(text, "{}   {user}   {role}", dialect.map);
        Ok::<(), Error>(())
    };
    let group = dialect.group().filter(|_| wanted.own().next().is_some());
    if let Some(group) = &group {
        line(&dialect.envoy_user, &format!("+{group}"))?;
    }
    for (user, role) in mapped(wanted, dialect) {
        if group.is_none() || is_predefined(&role) {
            line(&user, &written(&role, dialect)?)?;
        }
    }
    Ok(text)
}

/// Which user of the operating system may be which role.
pub(super) fn mapped(wanted: &Wanted, dialect: &Dialect) -> BTreeSet<(String, String)> {
    let envoy = wanted.logins().map(|(role, _)| (dialect.envoy_user.clone(), role.clone()));
    // The lines of pg_hba.conf catch the administrator too, who mustn't be locked out.
    let administrator = wanted.logins().filter(|(role, _)| is_predefined(role));
    envoy.chain(administrator.map(|(role, _)| (role.clone(), role.clone()))).collect()
}
