//! The connection pools in other languages, each with its program in `tests/pools/`. They land in `.tools/pools/`.

use std::{fs, path::PathBuf};

use anyhow::Result;

use super::{go_program, maven, pin, tools};
use crate::command::{Run, root};

fn sources(pool: &str) -> PathBuf {
    root().join("tests/pools").join(pool)
}

fn folder(pool: &str) -> PathBuf {
    tools().join("pools").join(pool)
}

fn pins(pool: &str, files: &[&str]) -> Vec<PathBuf> {
    files.iter().map(|file| sources(pool).join(file)).collect()
}

fn pgxpool() -> Vec<PathBuf> {
    pins("pgxpool", &["go.mod", "go.sum", "main.go"])
}

fn hikaricp() -> Vec<PathBuf> {
    pins("hikaricp", &["jars.pin", "Load.java"])
}

fn holds(pool: &str, pins: &[PathBuf]) -> bool {
    pin::holds(&folder(pool), &pins.iter().map(PathBuf::as_path).collect::<Vec<_>>())
}

fn stamp(pool: &str, pins: &[PathBuf]) -> Result<()> {
    pin::stamp(&folder(pool), &pins.iter().map(PathBuf::as_path).collect::<Vec<_>>())
}

pub(super) fn found() -> Option<String> {
    let whole = holds("pgxpool", &pgxpool()) && holds("hikaricp", &hikaricp());
    (whole && maven::java_runs()).then(|| "pgxpool and HikariCP in .tools/pools".to_owned())
}

pub(super) fn install() -> Result<()> {
    if !holds("pgxpool", &pgxpool()) {
        pin::fresh(&folder("pgxpool"))?;
        go_program::build(&sources("pgxpool"), &folder("pgxpool").join("load"))?;
        stamp("pgxpool", &pgxpool())?;
    }
    if !holds("hikaricp", &hikaricp()) || !maven::java_runs() {
        let folder = folder("hikaricp");
        pin::fresh(&folder)?;
        let pinned = fs::read_to_string(sources("hikaricp").join("jars.pin"))?;
        let jars = maven::copy(&pinned, &folder)?;
        let classpath = std::env::join_paths(jars)?;
        Run::new("javac")
            .arg("-cp")
            .arg(classpath)
            .arg("-d")
            .arg(&folder)
            .arg(sources("hikaricp").join("Load.java"))
            .succeed()?;
        stamp("hikaricp", &hikaricp())?;
    }
    Ok(())
}
