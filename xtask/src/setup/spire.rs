//! SPIRE server and agent, built from the Go module `tests/tools/spire/`, which pins them and all that
//! they are made of by `go.sum`.

use std::{
    io::{BufRead, BufReader, IsTerminal, Write},
    path::PathBuf,
    process::Stdio,
};

use anyhow::{Context, Result, bail};

use super::{pin, tools};
use crate::{
    build::version_of,
    command::{Run, install_debian_packages, on_path, root},
};

const PROGRAMS: [&str; 2] = ["spire-server", "spire-agent"];

fn module() -> PathBuf {
    root().join("tests/tools/spire")
}

fn pins() -> [PathBuf; 2] {
    [module().join("go.mod"), module().join("go.sum")]
}

fn folder() -> PathBuf {
    tools().join("spire")
}

pub(super) fn found() -> Option<String> {
    let [modules, sums] = pins();
    let whole = pin::holds(&folder(), &[&modules, &sums])
        && PROGRAMS.iter().all(|program| version_of(&folder().join(program)).is_ok());
    whole.then(|| "SPIRE server and agent in .tools/spire".to_owned())
}

pub(super) fn install() -> Result<()> {
    if !on_path("go") {
        bail!("go is not on the PATH; install Go 1.26 or newer, and run this again");
    }
    if !on_path("cc") {
        // SPIRE's SQLite data store is C.
        install_debian_packages(&["gcc", "libc6-dev"])?;
    }
    println!("   downloading the Go modules");
    let go = || Run::new("go").directory(module()).env("CGO_ENABLED", "1");
    let packages = go().args(["list", "-deps", "tool"]).output()?.lines().count();
    let folder = folder();
    pin::fresh(&folder)?;

    let mut build = go()
        .args(["build", "-v", "-trimpath", "-mod=readonly", "-ldflags=-s -w", "-o"])
        .arg(folder.join(""))
        .arg("tool")
        .into_command()
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run go build")?;
    let lines = build.stderr.take().context("go build has no stderr")?;
    let mut complaints = Vec::new();
    let mut progress = Progress::new(packages);
    for line in BufReader::new(lines).lines() {
        let line = line?;
        // `-v` names each package as it is compiled; those in Go's cache are not named.
        if line.contains(' ') {
            complaints.push(line);
        } else {
            progress.advance();
        }
    }
    progress.end();
    let status = build.wait()?;
    if !status.success() {
        bail!("go build failed with {status}:\n{}", complaints.join("\n"));
    }
    let [modules, sums] = pins();
    pin::stamp(&folder, &[&modules, &sums])
}

/// Counts compiled packages: one line rewritten on a terminal, a line per tenth elsewhere.
struct Progress {
    done: usize,
    all: usize,
    rewrites: bool,
}

impl Progress {
    fn new(all: usize) -> Self {
        Self { done: 0, all, rewrites: std::io::stdout().is_terminal() }
    }

    fn advance(&mut self) {
        self.done += 1;
        if self.rewrites {
            print!("\r   compiling: {} of at most {} packages", self.done, self.all);
            let _ = std::io::stdout().flush();
        } else if self.done.is_multiple_of((self.all / 10).max(1)) {
            println!("   compiling: {} of at most {} packages", self.done, self.all);
        }
    }

    fn end(&self) {
        if self.rewrites && self.done > 0 {
            println!();
        }
    }
}
