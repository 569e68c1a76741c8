//! `signet policy sql`

mod connect;
mod dialect;
mod drift;
mod drift_files;
mod drift_memberships;
mod files;
mod finding;
mod found;
mod found_files;
mod quote;
mod script;
mod wanted;

use std::collections::BTreeSet;
use std::process::ExitCode;

use serde_json::json;

pub(crate) use self::connect::ConnectError;
use self::connect::connect;
use self::dialect::Dialect;
use self::drift::Comparison;
use self::finding::Finding;
use self::found::Found;
use self::wanted::Wanted;
use crate::OutputArguments;
use crate::error::Error;
use crate::input::PolicyArgument;
use crate::output::{Format, print, print_json, success_if, tell};

/// Print the roles, grants and lines of `pg_hba.conf` and `pg_ident.conf` that fit the policy, or check a
/// server against it.
///
/// What the rules for one Envoy ask of the Postgres behind it: a role that logs in, without a password,
/// for each `login_role` and each role of `may_act_as`; the right of a `login_role` to become the others by
/// SET ROLE, which is how an API takes the `db_role` of a call; CONNECT on the rules' databases; and the
/// lines by which Envoy's own user of the operating system, and nobody else, gets in as these roles.
///
/// The SQL can be run again and changes nothing then. It never drops or revokes, and grants no right on a
/// table. With --check nothing is printed to be run: a server is asked, and every difference is told both
/// ways, each with what repairs it.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  signet policy sql policy.yaml --database db --postgres-version 18 --part sql | psql -U postgres
  signet policy sql policy.yaml --database db --postgres-version 15 --envoy-user envoy --part ident
  sudo -u postgres signet policy sql policy.yaml --database db --check
  signet policy sql policy.yaml --database db --check --url 'host=/run/postgresql user=postgres'

The check connects as the administrator, by --url or by PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE.
Best by Unix socket: over a network it speaks no TLS. It reads the catalogues, and both files where the user
may see them; it changes nothing.

Exit codes: 0 printed, 1 faults; with --check 0 no difference, 1 differences, 2 it can't be checked")]
pub(crate) struct Arguments {
    #[command(flatten)]
    policy: PolicyArgument,
    /// The workload whose Envoy stands before Postgres: a name of the policy, /… or a SPIFFE ID
    #[arg(long, value_name = "WORKLOAD")]
    database: String,
    /// Postgres' major version, which decides how memberships and maps are written
    #[arg(
        long,
        value_name = "VERSION",
        value_parser = clap::value_parser!(u8).range(15..=18),
        required_unless_present = "check",
        conflicts_with = "check"
    )]
    postgres_version: Option<u8>,
    /// The operating system's user that Envoy runs as
    #[arg(long, value_name = "NAME", default_value = "envoy", value_parser = user)]
    envoy_user: String,
    /// The map of `pg_ident.conf`; since 16 the roles are members of `NAME_logins`
    #[arg(long, value_name = "NAME", default_value = "signet", value_parser = word)]
    map: String,
    /// Leave the other ways in open: for as long as applications still log in by password
    #[arg(long)]
    keep_passwords: bool,
    /// Only this part
    #[arg(long, value_enum, conflicts_with_all = ["check", "output"])]
    part: Option<Part>,
    /// Compare a running server with the policy
    #[arg(long)]
    check: bool,
    /// The server to check: `postgres://USER@HOST:PORT/DATABASE`, or `host=… user=…` as libpq has it
    #[arg(long, value_name = "URL", requires = "check", conflicts_with = "postgres_version")]
    url: Option<String>,
    /// A role of the database's owner that is no drift where it belongs to roles of the policy, or they to
    /// it; can be repeated
    #[arg(long, value_name = "ROLE", requires = "check", conflicts_with = "postgres_version")]
    known_role: Vec<String>,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Part {
    /// Roles and grants
    Sql,
    /// Lines of `pg_hba.conf`
    Hba,
    /// Lines of `pg_ident.conf`
    Ident,
}

/// A user's name that `pg_ident.conf` takes literally.
fn user(text: &str) -> Result<String, String> {
    let valid = |c: char| c.is_ascii_alphanumeric() || "_-.@".contains(c);
    if text.is_empty() || text == "all" || !text.chars().all(valid) {
        return Err("a user has letters, digits, `_`, `-`, `.` and `@`".to_owned());
    }
    Ok(text.to_owned())
}

/// A name that is the same in SQL and in both files.
fn word(text: &str) -> Result<String, String> {
    let valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    let starts = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    if !starts || text.len() > 50 || text.starts_with("pg_") || !text.bytes().all(valid) {
        return Err(
            "a map has 1 to 50 of `a-z`, `0-9` and `_`, begins with a letter and not with `pg_`"
                .to_owned(),
        );
    }
    Ok(text.to_owned())
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let format = arguments.output.output;
    if arguments.check {
        return match check(arguments) {
            Ok(report) => {
                report.print(format);
                success_if(report.findings.is_empty())
            }
            Err(error) => error.report(format, 2),
        };
    }
    match write(arguments, format) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(format, 1),
    }
}

impl Arguments {
    fn wanted(&self) -> Result<Wanted, Error> {
        let document = self.policy.read()?;
        let wanted = Wanted::of(document, &document.identity(&self.database)?)?;
        if wanted.roles.is_empty() {
            tell(format_args!("note: no postgres rule is for {}", wanted.workload));
        }
        Ok(wanted)
    }

    fn dialect(&self, version: u8, wanted: &Wanted) -> Result<Dialect, Error> {
        let dialect = Dialect {
            version,
            envoy_user: self.envoy_user.clone(),
            map: self.map.clone(),
            keep_passwords: self.keep_passwords,
        };
        match dialect.group() {
            Some(group) if wanted.roles.contains_key(&group) => Err(Error::GroupIsRole(group)),
            _ => Ok(dialect),
        }
    }
}

fn write(arguments: &Arguments, format: Format) -> Result<(), Error> {
    let wanted = arguments.wanted()?;
    let dialect = arguments.dialect(arguments.postgres_version.unwrap_or_default(), &wanted)?;
    let sql = script::script(&wanted, &dialect);
    let hba = files::hba(&wanted, &dialect)?;
    let ident = files::ident(&wanted, &dialect)?;
    match (format, arguments.part) {
        (Format::Json, _) => print_json(&json!({
            "workload": wanted.workload,
            "roles": wanted.logins().map(|(name, _)| name).collect::<Vec<_>>(),
            "sql": sql,
            "pg_hba": hba,
            "pg_ident": ident,
            "notes": wanted.notes.iter().chain(&script::hints(&wanted)).collect::<Vec<_>>(),
        })),
        (Format::Text, Some(Part::Sql)) => print(&sql),
        (Format::Text, Some(Part::Hba)) => print(&hba),
        (Format::Text, Some(Part::Ident)) => print(&ident),
        (Format::Text, None) => print(&format!("{sql}\n{hba}\n{ident}")),
    }
    Ok(())
}

/// What a check told.
struct Report {
    server: String,
    workload: String,
    findings: Vec<Finding>,
    unread: Vec<&'static str>,
    notes: Vec<String>,
}

fn check(arguments: &Arguments) -> Result<Report, Error> {
    let wanted = arguments.wanted()?;
    let mut client = connect(arguments.url.as_deref())?;
    let version = client
        .query_one("select current_setting('server_version_num')::int / 10000, current_setting('server_version')", &[])
        .map_err(ConnectError::Query)?;
    let (major, server): (i32, String) = (version.get(0), version.get(1));
    let major = u8::try_from(major).unwrap_or_default();
    if major < 15 {
        return Err(ConnectError::Version(major).into());
    }
    let dialect = arguments.dialect(major, &wanted)?;
    let found = Found::read(&mut client, &wanted, &dialect)?;
    let known: BTreeSet<String> = arguments.known_role.iter().cloned().collect();
    let comparison =
        Comparison { wanted: &wanted, found: &found, dialect: &dialect, known: &known };
    let mut findings = comparison.of_catalogues();
    findings.extend(comparison.of_files());
    Ok(Report {
        server,
        findings,
        unread: found.unread(),
        workload: wanted.workload,
        notes: wanted.notes,
    })
}

impl Report {
    fn print(&self, format: Format) {
        if format == Format::Json {
            print_json(&json!({
                "workload": self.workload,
                "server_version": self.server,
                "clean": self.findings.is_empty(),
                "findings": self.findings,
                "not_checked": self.unread,
                "notes": self.notes,
            }));
            return;
        }
        let told: Vec<String> = self.findings.iter().map(ToString::to_string).collect();
        print(&told.join("\n"));
        for unread in &self.unread {
            tell(format_args!("note: not checked: {unread}"));
        }
        for note in &self.notes {
            tell(format_args!("note: {note}"));
        }
        let count = match self.findings.len() {
            0 => "no difference".to_owned(),
            1 => "\n1 difference".to_owned(),
            count => format!("\n{count} differences"),
        };
        print(&format!(
            "{count} between PostgreSQL {} and the policy for {}\n",
            self.server, self.workload
        ));
    }
}
