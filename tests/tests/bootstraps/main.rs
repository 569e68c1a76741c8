//! Every file of `envoy/`, as it is: Envoy accepts it, and it sets what ARCHITECTURE.md says that
//! every bootstrap sets. A rule that a file breaks is named with the file and with what was found.

mod http;
mod postgres;
mod read;
mod tls;
mod walls;

use std::{fs, path::PathBuf};

use e2e::{Bootstrap, Envoy, Programs, Stage, TRUST_DOMAIN};
use serde_json::Value;

/// One line of ARCHITECTURE.md's list.
struct Rule {
    name: &'static str,
    /// The error is what was found instead.
    check: fn(&Value) -> Result<(), String>,
    /// Takes away what the rule wants, to show that the check would notice.
    break_it: fn(&mut Value),
}

fn rules() -> impl Iterator<Item = &'static Rule> {
    [tls::RULES, walls::RULES, http::RULES, postgres::RULES].into_iter().flatten()
}

/// A value for each placeholder; a file may not need them all.
const VALUES: [(&str, &str); 18] = [
    ("NODE_ID", "node"),
    ("RUN_DIR", "/run/signet"),
    ("SDS_SOCKET", "/run/signet/sds.sock"),
    ("TRUST_DOMAIN", TRUST_DOMAIN),
    ("API_SPIFFE_ID", "spiffe://example.org/ns/api-ns/sa/api"),
    ("API_HOST", "127.0.0.1"),
    ("API_PORT", "1"),
    ("API_SOCKET", "/run/signet/api.sock"),
    ("DB_SPIFFE_ID", "spiffe://example.org/ns/postgres-ns/sa/customer-db"),
    ("DB_HOST", "127.0.0.1"),
    ("DB_PORT", "2"),
    ("INGRESS_HOST", "127.0.0.1"),
    ("INGRESS_PORT", "3"),
    ("POSTGRES_SOCKET", "/run/postgresql/.s.PGSQL.5432"),
    ("MAX_CONNECTION_DURATION", "600s"),
    ("OPS_HOST", "127.0.0.1"),
    ("METRICS_PORT", "4"),
    ("PROBES_PORT", "5"),
];

fn bootstraps() -> Vec<(String, Bootstrap)> {
    let programs = Programs::locate().unwrap();
    let directory = programs.repository_file("envoy").unwrap();
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(files.len() >= 3, "found {files:?}");
    let read = |path: &PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let empty = Bootstrap::read(&programs, &name).unwrap();
        let filled = VALUES.iter().fold(empty, |file, (name, value)| file.with(name, value));
        (format!("{name}.yaml"), filled)
    };
    files.iter().map(read).collect()
}

#[test]
fn every_bootstrap_keeps_every_rule() {
    let mut broken = Vec::new();
    for (file, bootstrap) in bootstraps() {
        let configuration = bootstrap.configuration().unwrap();
        for rule in rules() {
            if let Err(found) = (rule.check)(&configuration) {
                broken.push(format!("{file}: {}: {found}", rule.name));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn every_rule_notices_when_it_is_broken() {
    let all: Vec<Value> =
        bootstraps().iter().map(|(_, bootstrap)| bootstrap.configuration().unwrap()).collect();
    let mut blind = Vec::new();
    for rule in rules() {
        let noticed = all.iter().any(|configuration| {
            let mut broken = configuration.clone();
            (rule.break_it)(&mut broken);
            (rule.check)(&broken).is_err()
        });
        if !noticed {
            blind.push(rule.name);
        }
    }
    assert!(blind.is_empty(), "these rules notice nothing: {blind:#?}");
}

/// Whoever fills a file in finds every placeholder in its head.
#[test]
fn every_placeholder_is_documented() {
    let programs = Programs::locate().unwrap();
    for (file, _) in bootstraps() {
        let path = programs.repository_file(&format!("envoy/{file}")).unwrap();
        let text = fs::read_to_string(path).unwrap();
        let (head, body) = text.split_once("\nnode:").unwrap();
        let used = body.lines().filter(|line| !line.trim_start().starts_with('#'));
        for line in used {
            for placeholder in line.split("${").skip(1) {
                let name = placeholder.split('}').next().unwrap();
                assert!(
                    head.contains(&format!("${{{name}}}")),
                    "{file}: {name} is not in the head"
                );
            }
        }
        for documented in head.split("${").skip(1) {
            let name = documented.split('}').next().unwrap();
            assert!(body.contains(&format!("${{{name}}}")), "{file}: {name} is used nowhere");
        }
    }
}

#[test]
fn envoy_accepts_every_bootstrap() {
    let stage = Stage::set(None).unwrap();
    for (file, bootstrap) in bootstraps() {
        let directory = stage.directory(&file, &stage.accounts.mesh).unwrap();
        if let Err(error) = Envoy::validate(&stage, &file, &bootstrap, &directory) {
            panic!("{file}: {error:#}");
        }
    }
}
