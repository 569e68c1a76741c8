//! What a server has: read from its catalogues, and from its files as far as it shows them.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use postgres::error::SqlState;
use postgres::{Client, Row};

use super::connect::ConnectError;
use super::dialect::Dialect;
use super::wanted::Wanted;

/// What a server has.
#[derive(Debug)]
pub(super) struct Found {
    /// All its roles.
    pub(super) roles: BTreeMap<String, FoundRole>,
    /// Who belongs to which role, and how.
    pub(super) memberships: Vec<Membership>,
    /// How many objects a role owns in a database; `""` for those of the whole server.
    pub(super) owned: Vec<(String, String, i64)>,
    /// The databases that can be connected to.
    pub(super) databases: BTreeSet<String>,
    /// Role and database: whether it can connect, and whether that was granted to it by name.
    pub(super) connects: BTreeMap<(String, String), (bool, bool)>,
    /// The roles that have a password, if it is told.
    pub(super) passwords: Option<BTreeSet<String>>,
    /// The lines of `pg_hba.conf`, if they are told.
    pub(super) hba: Option<Vec<HbaLine>>,
    /// The lines of `pg_ident.conf`, if they are told.
    pub(super) ident: Option<Vec<IdentLine>>,
    /// Whether the files have changed since Postgres read them, if it is told.
    pub(super) files_unread: Option<bool>,
}

/// The attributes of a role.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "so many has Postgres")]
pub(super) struct FoundRole {
    pub(super) login: bool,
    pub(super) superuser: bool,
    pub(super) createrole: bool,
    pub(super) createdb: bool,
    pub(super) replication: bool,
    pub(super) bypassrls: bool,
    pub(super) inherit: bool,
}

/// One grant of a role to another.
#[derive(Clone, Debug)]
pub(super) struct Membership {
    pub(super) member: String,
    pub(super) role: String,
    pub(super) grantor: String,
    pub(super) admin: bool,
    /// Whether the member has the role's rights without becoming it. Before 16 the member decides that.
    pub(super) inherit: bool,
    /// Whether the member may become the role.
    pub(super) set: bool,
}

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

impl Found {
    /// Reads what concerns `wanted`.
    pub(super) fn read(
        client: &mut Client,
        wanted: &Wanted,
        dialect: &Dialect,
    ) -> Result<Self, ConnectError> {
        let newer = dialect.version >= 16;
        let roles: Vec<&str> = wanted.roles.keys().map(String::as_str).collect();
        let owned = "select r.rolname::text, coalesce(d.datname::text, ''), count(*)
             from pg_shdepend s
             join pg_roles r on r.oid = s.refobjid
             left join pg_database d on d.oid = s.dbid
             where s.refclassid = 'pg_authid'::regclass and s.deptype = 'o' and r.rolname = any ($1)
             group by 1, 2 order by 1, 2";
        let connects = "select r.rolname::text, d.datname::text,
                 has_database_privilege(r.oid, d.oid, 'connect'),
                 exists (select from aclexplode(d.datacl) a
                         where a.grantee = r.oid and a.privilege_type = 'CONNECT')
             from pg_roles r cross join pg_database d
             where r.rolname = any ($1) and d.datallowconn and not d.datistemplate";
        let with_password = "select rolname::text from pg_authid
             where rolpassword is not null and rolname = any ($1)";
        let mut found = Self {
            roles: client.query(ROLES, &[])?.iter().map(role).collect(),
            memberships: Vec::new(),
            owned: client
                .query(owned, &[&roles])?
                .iter()
                .map(|row| (row.get(0), row.get(1), row.get(2)))
                .collect(),
            databases: client
                .query("select datname::text from pg_database where datallowconn and not datistemplate", &[])?
                .iter()
                .map(|row| row.get(0))
                .collect(),
            connects: client
                .query(connects, &[&roles])?
                .iter()
                .map(|row| ((row.get(0), row.get(1)), (row.get(2), row.get(3))))
                .collect(),
            passwords: told(client.query(with_password, &[&roles]))?
                .map(|rows| rows.iter().map(|row| row.get(0)).collect()),
            hba: told(client.query(&hba_query(newer), &[]))?
                .map(|rows| rows.iter().map(hba_line).filter(HbaLine::may_fit).collect()),
            ident: told(client.query(&ident_query(newer), &[]))?
                .map(|rows| rows.iter().map(ident_line).collect()),
            files_unread: told(files_unread(client))?,
        };
        found.memberships = client
            .query(&memberships_query(newer), &[])?
            .iter()
            .map(|row| membership(row, &found.roles))
            .collect();
        if newer {
            found.resolve_expressions(client, wanted)?;
        }
        Ok(found)
    }

    /// What this user may not know.
    pub(super) fn unread(&self) -> Vec<&'static str> {
        [
            (self.passwords.is_none(), "passwords: only a superuser may read pg_authid"),
            (self.hba.is_none(), "pg_hba.conf: only a superuser may read pg_hba_file_rules"),
            (
                self.ident.is_none(),
                "pg_ident.conf: only a superuser may read pg_ident_file_mappings",
            ),
            (self.files_unread.is_none(), "whether Postgres has read its files since they changed"),
        ]
        .into_iter()
        .filter_map(|(unread, what)| unread.then_some(what))
        .collect()
    }

    /// Every role that belongs to `role`, through others as well.
    pub(super) fn members<'a>(&'a self, role: &'a str) -> BTreeSet<&'a str> {
        let mut members = BTreeSet::new();
        let mut next = vec![role];
        while let Some(role) = next.pop() {
            let direct = self.memberships.iter().filter(|m| m.role == role);
            next.extend(direct.map(|m| m.member.as_str()).filter(|member| members.insert(*member)));
        }
        members
    }

    /// Replaces regular expressions by the names that they match: those that this is about.
    fn resolve_expressions(
        &mut self,
        client: &mut Client,
        wanted: &Wanted,
    ) -> Result<(), postgres::Error> {
        let roles: Vec<&str> = wanted.roles.keys().map(String::as_str).collect();
        let databases: Vec<&str> = self.databases.iter().map(String::as_str).collect();
        for line in self.hba.iter_mut().flatten() {
            resolve(client, &mut line.users, &roles)?;
            resolve(client, &mut line.databases, &databases)?;
        }
        Ok(())
    }
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

/// What is told to this user; `None` where it may not know.
fn told<T>(result: Result<T, postgres::Error>) -> Result<Option<T>, postgres::Error> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Ok(None),
        Err(error) => Err(error),
    }
}

const ROLES: &str = "select rolname::text, rolcanlogin, rolsuper, rolcreaterole, rolcreatedb,
    rolreplication, rolbypassrls, rolinherit from pg_roles";

/// A change of the very second in which Postgres read them isn't seen.
const FILES_UNREAD: &str = "select bool_or((pg_stat_file(file)).modification > pg_conf_load_time())
    from unnest(array[current_setting('hba_file'), current_setting('ident_file')]) file";

/// Whether the files changed since Postgres read them. Where they did, it may be about to read them.
fn files_unread(client: &mut Client) -> Result<bool, postgres::Error> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let unread: bool = client.query_one(FILES_UNREAD, &[])?.get(0);
        if !unread || Instant::now() > deadline {
            return Ok(unread);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn memberships_query(newer: bool) -> String {
    let options = if newer { "m.inherit_option, m.set_option" } else { "null::bool, true" };
    format!(
        "select member.rolname::text, role.rolname::text, grantor.rolname::text, m.admin_option, {options}
         from pg_auth_members m
         join pg_roles member on member.oid = m.member
         join pg_roles role on role.oid = m.roleid
         join pg_roles grantor on grantor.oid = m.grantor
         order by 1, 2, 3"
    )
}

fn hba_query(newer: bool) -> String {
    let order = if newer { "rule_number nulls first, line_number" } else { "line_number" };
    format!(
        "select line_number, type, database, user_name, coalesce(address, ''), auth_method, options, error
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

fn role(row: &Row) -> (String, FoundRole) {
    let role = FoundRole {
        login: row.get(1),
        superuser: row.get(2),
        createrole: row.get(3),
        createdb: row.get(4),
        replication: row.get(5),
        bypassrls: row.get(6),
        inherit: row.get(7),
    };
    (row.get(0), role)
}

fn membership(row: &Row, roles: &BTreeMap<String, FoundRole>) -> Membership {
    let member: String = row.get(0);
    let inherit: Option<bool> = row.get(4);
    let by_member = || roles.get(&member).is_none_or(|role| role.inherit);
    Membership {
        inherit: inherit.unwrap_or_else(by_member),
        role: row.get(1),
        grantor: row.get(2),
        admin: row.get(3),
        set: row.get(5),
        member,
    }
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
