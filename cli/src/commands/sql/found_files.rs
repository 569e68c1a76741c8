//! What a server tells of `pg_hba.conf` and `pg_ident.conf`.

use std::thread;
use std::time::{Duration, Instant};

use postgres::{Client, Row};

/// A line of `pg_hba.conf`.
#[derive(Clone, Debug)]
pub(super) struct HbaLine {
    pub(super) number: i32,
    /// `local`, `host`, `hostssl` and so on.
    pub(super) kind: String,
    pub(super) databases: Vec<String>,
    pub(super) users: Vec<String>,
    pub(super) address: String,
    pub(super) method: String,
    pub(super) options: Vec<String>,
    /// Why Postgres can't read it.
    pub(super) error: Option<String>,
}

impl HbaLine {
    /// A line that Postgres has read and has an error about fits nobody, such as `hostssl` without TLS. One
    /// that it couldn't read has no values.
    fn may_fit(&self) -> bool {
        self.error.is_none() || self.kind.is_empty()
    }
}

/// A line of `pg_ident.conf`.
#[derive(Clone, Debug)]
pub(super) struct IdentLine {
    pub(super) number: i32,
    pub(super) map: String,
    pub(super) user: String,
    pub(super) role: String,
    pub(super) error: Option<String>,
}

/// The lines of `pg_hba.conf`, in the order in which they are tried.
pub(super) fn hba(client: &mut Client, newer: bool) -> Result<Vec<HbaLine>, postgres::Error> {
    let rows = client.query(&hba_query(newer), &[])?;
    Ok(rows.iter().map(hba_line).filter(HbaLine::may_fit).collect())
}

/// The lines of `pg_ident.conf`, likewise.
pub(super) fn ident(client: &mut Client, newer: bool) -> Result<Vec<IdentLine>, postgres::Error> {
    let rows = client.query(&ident_query(newer), &[])?;
    Ok(rows.iter().map(ident_line).collect())
}

/// Replaces regular expressions by the names that they match: those that this is about.
pub(super) fn resolve_expressions(
    client: &mut Client,
    lines: &mut [HbaLine],
    roles: &[&str],
    databases: &[&str],
) -> Result<(), postgres::Error> {
    for line in lines {
        resolve(client, &mut line.users, roles)?;
        resolve(client, &mut line.databases, databases)?;
    }
    Ok(())
}

fn resolve(
    client: &mut Client,
    tokens: &mut Vec<String>,
    names: &[&str],
) -> Result<(), postgres::Error> {
    for token in std::mem::take(tokens) {
        match token.strip_prefix('/') {
            Some(expression) => {
                let matching = "select name from unnest($1::text[]) name where name ~ $2";
                let matched = client.query(matching, &[&names, &expression])?;
                tokens.extend(matched.iter().map(|row| row.get::<_, String>(0)));
            }
            None => tokens.push(token),
        }
    }
    Ok(())
}

/// A change of the very second in which Postgres read them isn't seen.
const FILES_UNREAD: &str = "select bool_or((pg_stat_file(file)).modification > pg_conf_load_time())
    from unnest(array[current_setting('hba_file'), current_setting('ident_file')]) file";

/// Whether the files changed since Postgres read them. Where they did, it may be about to read them.
pub(super) fn files_unread(client: &mut Client) -> Result<bool, postgres::Error> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let unread: bool = client.query_one(FILES_UNREAD, &[])?.get(0);
        if !unread || Instant::now() > deadline {
            return Ok(unread);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn hba_query(newer: bool) -> String {
    let order = if newer { "rule_number nulls first, line_number" } else { "line_number" };
    format!(
        "select line_number, type, database, user_name, concat_ws('/', address, netmask), auth_method, options, error
         from pg_hba_file_rules order by {order}"
    )
}

fn ident_query(newer: bool) -> String {
    let order = if newer { "map_number nulls first, line_number" } else { "line_number" };
    format!(
        "select line_number, map_name, sys_name, pg_username, error
         from pg_ident_file_mappings order by {order}"
    )
}

fn hba_line(row: &Row) -> HbaLine {
    HbaLine {
        number: row.get(0),
        kind: text(row, 1),
        databases: texts(row, 2),
        users: texts(row, 3),
        address: text(row, 4),
        method: text(row, 5),
        options: texts(row, 6),
        error: row.get(7),
    }
}

fn ident_line(row: &Row) -> IdentLine {
    IdentLine {
        number: row.get(0),
        map: text(row, 1),
        user: text(row, 2),
        role: text(row, 3),
        error: row.get(4),
    }
}

/// A line that Postgres can't read has no values.
fn text(row: &Row, column: usize) -> String {
    row.get::<_, Option<String>>(column).unwrap_or_default()
}

fn texts(row: &Row, column: usize) -> Vec<String> {
    row.get::<_, Option<Vec<String>>>(column).unwrap_or_default()
}
