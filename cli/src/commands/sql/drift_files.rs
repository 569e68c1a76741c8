//! Compares `pg_hba.conf` and `pg_ident.conf` with what the policy asks, by what Postgres would do.

use std::collections::{BTreeMap, BTreeSet};

use super::drift::{Comparison, listed};
use super::files::mapped;
use super::finding::{Drift, Finding};
use super::found_files::{HbaLine, IdentLine, Place};
use super::quote::{identifier, identifiers, token};
use super::wanted::{Visitors, is_predefined};

const HBA: &str = "pg_hba.conf";
const IDENT: &str = "pg_ident.conf";

/// What Envoy's user wants in for.
#[derive(Clone, Copy)]
enum To<'a> {
    Database(&'a str),
    /// The whole server.
    Replicate,
}

impl Comparison<'_> {
    /// All differences of the files, as far as they are told.
    pub(super) fn of_files(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Some(lines) = &self.found.hba {
            self.ways_in(lines, &mut findings);
            if !self.dialect.keep_passwords {
                self.other_ways_in(lines, &mut findings);
            }
        }
        if let Some(lines) = &self.found.ident {
            self.map(lines, &mut findings);
        }
        if self.found.files_unread == Some(true) {
            findings.push(Finding {
                drift: Drift::Missing,
                thing: "pg_hba.conf and pg_ident.conf".to_owned(),
                found: "changed since Postgres read them".to_owned(),
                wanted: "what is written, in force".to_owned(),
                repair: "select pg_reload_conf();".to_owned(),
            });
        }
        findings
    }

    /// Whether Envoy gets in wherever a rule says so: of the lines for Unix sockets the first that fits
    /// decides.
    fn ways_in(&self, lines: &[HbaLine], findings: &mut Vec<Finding>) {
        for line in lines {
            unreadable(HBA, &line.place, line.error.as_ref(), findings);
        }
        for (database, visitors) in &self.wanted.databases {
            self.way_in(lines, To::Database(database), visitors, findings);
        }
        for database in &self.found.databases {
            self.way_in(lines, To::Database(database), &self.wanted.any_database, findings);
        }
        self.way_in(lines, To::Replicate, &self.wanted.replicating(), findings);
    }

    fn way_in(
        &self,
        lines: &[HbaLine],
        to: To<'_>,
        visitors: &Visitors,
        findings: &mut Vec<Finding>,
    ) {
        let mut wrong: BTreeMap<Option<usize>, BTreeSet<String>> = BTreeMap::new();
        for role in &visitors.roles {
            let fits = |line: &HbaLine| match to {
                To::Database(database) => self.fits(line, role, database),
                To::Replicate => line.is_for(true) && self.fits_user(line, role),
            };
            let first = lines.iter().position(|line| line.kind == "local" && fits(line));
            if !first.is_some_and(|line| self.is_ours(&lines[line])) {
                wrong.entry(first).or_default().insert(role.clone());
            }
        }
        let (place, token) = match to {
            To::Database(name) => (format!("in database {}", identifier(name)), self.token(name)),
            To::Replicate => ("to replicate".to_owned(), "replication".to_owned()),
        };
        for (first, roles) in wrong {
            let first = first.map(|line| &lines[line]);
            findings.push(Finding {
                drift: Drift::Missing,
                thing: format!("Envoy as {} {place}", identifiers(&roles)),
                found: first.map_or_else(|| "no line".to_owned(), shown),
                wanted: format!(
                    "peer by map {}, for {}",
                    self.dialect.map,
                    listed(&visitors.rules)
                ),
                repair: format!(
                    "{}: local {token} {} peer map={}",
                    first.map_or_else(|| HBA.to_owned(), |line| before(&line.place)),
                    self.tokens(&roles),
                    self.dialect.map
                ),
            });
        }
    }

    /// Lines that let somebody else in as a role of the policy.
    fn other_ways_in(&self, lines: &[HbaLine], findings: &mut Vec<Finding>) {
        let mut open: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
        for (name, role) in self.wanted.own() {
            // A connection that replicates is for no database, and `all` is none of its lines.
            for (local, replicating) in [(true, false), (true, true), (false, false), (false, true)]
            {
                if replicating && !role.replicates {
                    continue;
                }
                for (index, line) in lines.iter().enumerate() {
                    let of_kind = (line.kind == "local") == local && line.is_for(replicating);
                    if !of_kind || !self.fits_user(line, name) {
                        continue;
                    }
                    if line.shuts(replicating) {
                        break;
                    }
                    if line.method != "reject" && !self.is_ours(line) {
                        open.entry(index).or_default().insert(name.clone());
                    }
                }
            }
        }
        for (line, roles) in open {
            let line = &lines[line];
            let (kind, address) =
                if line.kind == "local" { ("local", "") } else { ("host", " all") };
            findings.push(Finding {
                drift: Drift::Superfluous,
                thing: format!("pg_hba.conf for {}", identifiers(&roles)),
                found: shown(line),
                wanted: "no way in but Envoy's".to_owned(),
                repair: format!(
                    "{}: {kind} all,replication {}{address} reject",
                    before(&line.place),
                    self.tokens(&roles)
                ),
            });
        }
    }

    /// Whether Envoy's user may be the roles of the policy, and no others.
    fn map(&self, lines: &[IdentLine], findings: &mut Vec<Finding>) {
        let map = &self.dialect.map;
        let wanted = mapped(self.wanted, self.dialect);
        let mut found = BTreeSet::new();
        for line in lines {
            unreadable(IDENT, &line.place, line.error.as_ref(), findings);
        }
        for line in lines.iter().filter(|line| line.map == *map) {
            let pairs = self.mapped_by(line);
            let strangers: Vec<String> = pairs
                .iter()
                .filter(|pair| !wanted.contains(*pair))
                .filter(|(_, role)| *role == line.role || self.is_let_in(role))
                .map(|(_, role)| role.clone())
                .collect();
            if !strangers.is_empty() {
                findings.push(Finding {
                    drift: Drift::Superfluous,
                    thing: format!("pg_ident.conf for {}", identifiers(&strangers)),
                    found: format!("{}: {map} {} {}", line.place, line.user, line.role),
                    wanted: format!("only {} as a role that a rule names", self.dialect.envoy_user),
                    repair: match line.role.strip_prefix('+') {
                        Some(group) if pairs.len() > strangers.len() => format!(
                            "revoke what makes {} a member of {}, directly or through others",
                            identifiers(&strangers),
                            identifier(group)
                        ),
                        _ => {
                            let (file, number) = line.place.within(IDENT);
                            format!("{file}: take line {number} away")
                        }
                    },
                });
            }
            found.extend(pairs);
            let group = line.role.strip_prefix('+');
            if group.is_some() && group == self.dialect.group().as_deref() {
                // Who isn't in the group is told of already.
                found.extend(self.wanted.own().map(|(role, _)| (line.user.clone(), role.clone())));
            }
        }
        let mut missing: BTreeMap<&String, BTreeSet<String>> = BTreeMap::new();
        for (user, role) in wanted.difference(&found) {
            missing.entry(user).or_default().insert(role.clone());
        }
        for (user, roles) in missing {
            let lines: BTreeSet<String> = roles
                .iter()
                .map(|role| match self.dialect.group() {
                    Some(group) if !is_predefined(role) => format!("+{group}"),
                    _ => self.token(role),
                })
                .map(|role| format!("pg_ident.conf: {map} {user} {role}"))
                .collect();
            findings.push(Finding {
                drift: Drift::Missing,
                thing: format!("pg_ident.conf for {}", identifiers(&roles)),
                found: "no line".to_owned(),
                wanted: format!("the operating system's user {user} in map {map}"),
                repair: lines.into_iter().collect::<Vec<_>>().join("\n"),
            });
        }
    }

    /// Whom a line lets be whom. What can't be told in names is told as it stands.
    fn mapped_by(&self, line: &IdentLine) -> BTreeSet<(String, String)> {
        let pair = |role: &str| (line.user.clone(), role.to_owned());
        let newer = self.dialect.version >= 16;
        match line.role.strip_prefix('+') {
            Some(group) if newer => self.found.members(group).into_iter().map(pair).collect(),
            _ if newer && line.role == "all" => {
                let logins = self.found.roles.iter().filter(|(_, role)| role.login);
                logins.map(|(role, _)| pair(role)).collect()
            }
            _ => [pair(&line.role)].into(),
        }
    }

    /// Whether some line lets the map's users be this role.
    fn is_let_in(&self, role: &str) -> bool {
        let login = self.found.roles.get(role).is_some_and(|role| role.login);
        let lines = self.found.hba.as_ref();
        login
            && lines.is_none_or(|lines| {
                lines.iter().any(|line| self.is_ours(line) && self.fits_user(line, role))
            })
    }

    fn is_ours(&self, line: &HbaLine) -> bool {
        let map = format!("map={}", self.dialect.map);
        line.kind == "local" && line.method == "peer" && line.options.contains(&map)
    }

    fn fits(&self, line: &HbaLine, role: &str, database: &str) -> bool {
        let fits = |token: &String| match token.as_str() {
            "all" => true,
            "sameuser" => role == database,
            "samerole" | "samegroup" => self.is_member(role, database),
            token => token == database,
        };
        self.fits_user(line, role) && line.databases.iter().any(fits)
    }

    fn fits_user(&self, line: &HbaLine, role: &str) -> bool {
        line.users.iter().any(|token| match token.strip_prefix('+') {
            Some(group) => self.is_member(role, group),
            None => token == "all" || token == role,
        })
    }

    fn is_member(&self, role: &str, group: &str) -> bool {
        role == group || self.found.members(group).contains(role)
    }

    /// What no line of a file can say, or should show, stands as in SQL.
    fn token(&self, name: &str) -> String {
        let token = token(name, self.dialect.version);
        token.filter(|_| !name.contains(char::is_control)).unwrap_or_else(|| identifier(name))
    }

    fn tokens(&self, names: &BTreeSet<String>) -> String {
        names.iter().map(|name| self.token(name)).collect::<Vec<_>>().join(",")
    }
}

/// A line as it stands.
fn shown(line: &HbaLine) -> String {
    let HbaLine { place, kind, databases, users, address, method, options, .. } = line;
    let parts = [
        kind.as_str(),
        &databases.join(","),
        &users.join(","),
        address,
        method,
        &options.join(" "),
    ];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("{place}: {}", parts.join(" "))
}

/// Where a line is to be put that is to decide instead.
fn before(place: &Place) -> String {
    let (file, number) = place.within(HBA);
    format!("{file}, before line {number}")
}

fn unreadable(main: &str, place: &Place, error: Option<&String>, findings: &mut Vec<Finding>) {
    if let Some(error) = error {
        let (file, number) = place.within(main);
        findings.push(Finding {
            drift: Drift::Missing,
            thing: format!("{file}, line {number}"),
            found: format!("Postgres can't read it: {error}"),
            wanted: "a file without faults; with one, Postgres keeps to what it read before"
                .to_owned(),
            repair: format!("{file}: mend line {number}, then select pg_reload_conf()"),
        });
    }
}
