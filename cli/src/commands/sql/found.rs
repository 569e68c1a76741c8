//! What a server has, read from its catalogues; what it tells of its files stands in [`found_files`].

use std::collections::{BTreeMap, BTreeSet};

use postgres::error::SqlState;
use postgres::{Client, Row};

use super::connect::ConnectError;
use super::dialect::Dialect;
use super::found_files::{self, HbaLine, IdentLine};
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

impl FoundRole {
    /// What it may do beyond an ordinary role, with the attribute that takes it away.
    pub(super) fn excess(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let excess = [
            (self.superuser, "a superuser", "nosuperuser"),
            (self.createrole, "it may create roles", "nocreaterole"),
            (self.createdb, "it may create databases", "nocreatedb"),
            (self.replication, "it may replicate, which reads everything", "noreplication"),
            (self.bypassrls, "it bypasses row level security", "nobypassrls"),
        ];
        excess.into_iter().filter_map(|(is, what, without)| is.then_some((what, without)))
    }
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

impl Membership {
    /// Whether the member has something of the role, or may give itself that. A mere mark gives nothing.
    pub(super) fn gives(&self) -> bool {
        self.inherit || self.set || self.admin
    }
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
            hba: told(found_files::hba(client, newer))?,
            ident: told(found_files::ident(client, newer))?,
            files_unread: told(found_files::files_unread(client, newer))?,
        };
        found.memberships = client
            .query(&memberships_query(newer), &[])?
            .iter()
            .map(|row| membership(row, &found.roles))
            .collect();
        if let Some(lines) = found.hba.as_mut().filter(|_| newer) {
            let databases: Vec<&str> = found.databases.iter().map(String::as_str).collect();
            found_files::resolve_expressions(client, lines, &roles, &databases)?;
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
