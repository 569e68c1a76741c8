//! Compares `pg_hba.conf` and `pg_ident.conf` with what the policy asks, by what Postgres would do.

use std::collections::{BTreeMap, BTreeSet};

use super::drift::{Comparison, listed};
use super::files::mapped;
use super::finding::{Drift, Finding};
use super::found_files::{HbaLine, IdentLine};
use super::quote::{identifier, identifiers, token};
use super::wanted::is_predefined;

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
            unreadable("pg_hba.conf", line.number, line.error.as_ref(), findings);
        }
        let mut expected = Vec::new();
        for (database, visitors) in &self.wanted.databases {
            expected.push((database, visitors));
        }
        for database in &self.found.databases {
            expected.push((database, &self.wanted.any_database));
        }
        for (database, visitors) in expected {
            let mut wrong: BTreeMap<Option<i32>, (String, BTreeSet<String>)> = BTreeMap::new();
            for role in &visitors.roles {
                let first =
                    lines.iter().find(|l| l.kind == "local" && self.fits(l, role, database));
                if first.is_some_and(|line| self.is_ours(line)) {
                    continue;
                }
                let shown = first.map_or_else(|| "no line".to_owned(), shown);
                let entry = wrong.entry(first.map(|line| line.number)).or_default();
                entry.0 = shown;
                entry.1.insert(role.clone());
            }
            for (number, (found, roles)) in wrong {
                let before = number.map_or_else(String::new, |n| format!(", before line {n}"));
                findings.push(Finding {
                    drift: Drift::Missing,
                    thing: format!(
                        "Envoy as {} in database {}",
                        identifiers(&roles),
                        identifier(database)
                    ),
                    found,
                    wanted: format!(
                        "peer by map {}, for {}",
                        self.dialect.map,
                        listed(&visitors.rules)
                    ),
                    repair: format!(
                        "pg_hba.conf{before}: local {} {} peer map={}",
                        self.token(database),
                        self.tokens(&roles),
                        self.dialect.map
                    ),
                });
            }
        }
    }

    /// Lines that let somebody else in as a role of the policy.
    fn other_ways_in(&self, lines: &[HbaLine], findings: &mut Vec<Finding>) {
        let mut open: BTreeMap<i32, (&HbaLine, BTreeSet<String>)> = BTreeMap::new();
        for (name, role) in self.wanted.own() {
            for local in [true, false] {
                let of_kind = lines.iter().filter(|line| (line.kind == "local") == local);
                for line in of_kind.filter(|line| self.fits_user(line, name)) {
                    let rejects = line.method == "reject";
                    let whole = local || (line.kind == "host" && line.address == "all");
                    if rejects && whole && line.databases.iter().any(|d| d == "all") {
                        break;
                    }
                    let only_replication = line.databases.iter().all(|d| d == "replication");
                    if !rejects && !self.is_ours(line) && (role.replicates || !only_replication) {
                        let entry = open.entry(line.number);
                        entry.or_insert_with(|| (line, BTreeSet::new())).1.insert(name.clone());
                    }
                }
            }
        }
        for (number, (line, roles)) in open {
            let (kind, address) =
                if line.kind == "local" { ("local", "") } else { ("host", " all") };
            findings.push(Finding {
                drift: Drift::Superfluous,
                thing: format!("pg_hba.conf for {}", identifiers(&roles)),
                found: shown(line),
                wanted: "no way in but Envoy's".to_owned(),
                repair: format!(
                    "pg_hba.conf, before line {number}: {kind} all,replication {}{address} reject",
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
            unreadable("pg_ident.conf", line.number, line.error.as_ref(), findings);
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
                    found: format!("line {}: {map} {} {}", line.number, line.user, line.role),
                    wanted: format!("only {} as a role that a rule names", self.dialect.envoy_user),
                    repair: match line.role.strip_prefix('+') {
                        Some(group) if pairs.len() > strangers.len() => format!(
                            "revoke what makes {} a member of {}, directly or through others",
                            identifiers(&strangers),
                            identifier(group)
                        ),
                        _ => format!("pg_ident.conf: take line {} away", line.number),
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

    fn token(&self, name: &str) -> String {
        token(name, self.dialect.version).unwrap_or_else(|| identifier(name))
    }

    fn tokens(&self, names: &BTreeSet<String>) -> String {
        names.iter().map(|name| self.token(name)).collect::<Vec<_>>().join(",")
    }
}

/// A line as it stands.
fn shown(line: &HbaLine) -> String {
    let HbaLine { number, kind, databases, users, address, method, options, .. } = line;
    let parts = [
        kind.as_str(),
        &databases.join(","),
        &users.join(","),
        address,
        method,
        &options.join(" "),
    ];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("line {number}: {}", parts.join(" "))
}

fn unreadable(file: &str, number: i32, error: Option<&String>, findings: &mut Vec<Finding>) {
    if let Some(error) = error {
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
