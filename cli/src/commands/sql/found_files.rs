//! What a server tells of `pg_hba.conf` and `pg_ident.conf`.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use postgres::{Client, Row};

/// Where a line stands.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The file that is included, where it is not in the one that includes. There are none before 16.
    included: Option<String>,
    number: i32,
}

impl Place {
    /// The place as one of a file that is named with it.
    pub(super) fn within<'a>(&'a self, main: &'a str) -> (&'a str, i32) {
        (self.included.as_deref().unwrap_or(main), self.number)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.number)?;
        self.included.as_ref().map_or(Ok(()), |file| write!(f, " of {file}"))
    }
}

/// A line of `pg_hba.conf`.
#[derive(Clone, Debug)]
pub(super) struct HbaLine {
    pub(super) place: Place,
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

    /// Whether it is for some database, or else for connections that replicate, which are for none.
    pub(super) fn is_for(&self, replicating: bool) -> bool {
        self.databases.iter().any(|token| (token == "replication") == replicating)
    }

    /// Whether whoever comes to it in its way gets no further, be it to any database or to replicate.
    pub(super) fn shuts(&self, replicating: bool) -> bool {
        let whole = if replicating { "replication" } else { "all" };
        let everywhere = self.kind == "local" || (self.kind == "host" && self.address == "all");
        self.method == "reject" && everywhere && self.databases.iter().any(|token| token == whole)
    }
}

/// A line of `pg_ident.conf`.
#[derive(Clone, Debug)]
pub(super) struct IdentLine {
    pub(super) place: Place,
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

/// A change of the very second in which Postgres read them isn't seen, nor is one of a list of names (`@file`).
fn files_unread_query(newer: bool) -> String {
    let included = if newer {
        "union select file_name from pg_hba_file_rules union select file_name from pg_ident_file_mappings"
    } else {
        ""
    };
    format!(
        "select bool_or((pg_stat_file(file, true)).modification > pg_conf_load_time())
         from (select current_setting('hba_file') union select current_setting('ident_file') {included}) files(file)"
    )
}

/// Whether the files changed since Postgres read them. Where they did, it may be about to read them.
pub(super) fn files_unread(client: &mut Client, newer: bool) -> Result<bool, postgres::Error> {
    let query = files_unread_query(newer);
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let unread: bool = client.query_one(&query, &[])?.get(0);
        if !unread || Instant::now() > deadline {
            return Ok(unread);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn hba_query(newer: bool) -> String {
    let order = if newer { "rule_number nulls first, line_number" } else { "line_number" };
    let included = included(newer, "hba_file");
    format!(
        "select {included}, line_number, type, database, user_name, concat_ws('/', address, netmask), auth_method, options, error
         from pg_hba_file_rules order by {order}"
    )
}

fn ident_query(newer: bool) -> String {
    let order = if newer { "map_number nulls first, line_number" } else { "line_number" };
    let included = included(newer, "ident_file");
    format!(
        "select {included}, line_number, map_name, sys_name, pg_username, error
         from pg_ident_file_mappings order by {order}"
    )
}

fn included(newer: bool, main: &str) -> String {
    if newer {
        format!("nullif(file_name, current_setting('{main}'))")
    } else {
        "null::text".to_owned()
    }
}

fn place(row: &Row) -> Place {
    Place { included: row.get(0), number: row.get(1) }
}

fn hba_line(row: &Row) -> HbaLine {
    HbaLine {
        place: place(row),
        kind: text(row, 2),
        databases: texts(row, 3),
        users: texts(row, 4),
        address: text(row, 5),
        method: text(row, 6),
        options: texts(row, 7),
        error: row.get(8),
    }
}

fn ident_line(row: &Row) -> IdentLine {
    IdentLine {
        place: place(row),
        map: text(row, 2),
        user: text(row, 3),
        role: text(row, 4),
        error: row.get(5),
    }
}

/// A line that Postgres can't read has no values.
fn text(row: &Row, column: usize) -> String {
    row.get::<_, Option<String>>(column).unwrap_or_default()
}

fn texts(row: &Row, column: usize) -> Vec<String> {
    row.get::<_, Option<Vec<String>>>(column).unwrap_or_default()
}
