//! What can be checked without running the product: format, lints, the rules of the architecture, links,
//! licences and sources of dependencies.

mod links;

use std::fs;

use anyhow::{Result, bail};

use crate::{
    build,
    command::{Run, cargo},
    setup::{self, Part, wasm_target},
};

/// What must never be compiled into a filter: readers of YAML, printers of errors, schemas.
const NEVER_IN_A_FILTER: [&str; 7] = [
    "granit-parser",
    "serde-saphyr",
    "miette",
    "schemars",
    "signet-policy-document",
    "tokio",
    "regex",
];

/// A filter larger than this is refused. Unit: bytes.
const LARGEST_FILTER: u64 = 200 * 1024;

pub(crate) fn run() -> Result<()> {
    setup::ensure(&[Part::WasmTarget, Part::CargoDeny])?;
    step("the lock file says what the manifests say", || {
        cargo().args(["fetch", "--locked", "--quiet"]).succeed()
    })?;
    step("format", || cargo().args(["fmt", "--all", "--check"]).succeed())?;
    step("lints", || {
        let everything = ["clippy", "--workspace", "--all-targets", "--quiet"];
        cargo().args(everything).args(["--", "--deny", "warnings"]).succeed()
    })?;
    step("the pure crates build alone, for this machine and for wasm", pure_crates_build_alone)?;
    step("who may know whom", arrows)?;
    step("the filters are small and hold no YAML", filters)?;
    step("the links of the pages", links::all_lead_somewhere)?;
    step("licences, sources and duplicates of dependencies", || {
        Run::new(setup::cargo_deny_program())
            .args(["--log-level", "error", "check", "bans", "licenses", "sources"])
            .succeed()
    })
}

fn step(name: &str, check: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("── check: {name}");
    check()
}

fn pure_crates_build_alone() -> Result<()> {
    for package in ["signet-policy", "pgwire"] {
        cargo().args(["check", "--quiet", "--package", package]).succeed()?;
        wasm_target::cargo_build()?
            .args(["--quiet", "--target", wasm_target::TARGET, "--package", package])
            .succeed()?;
    }
    Ok(())
}

/// The arrows of ARCHITECTURE.md that `cargo tree` can see.
fn arrows() -> Result<()> {
    for filter in build::FILTERS {
        must_not_depend(filter, &NEVER_IN_A_FILTER)?;
    }
    must_not_depend("signet-policy", &["tokio", "signet-policy-document", "proxy-wasm"])?;
    must_not_depend("pgwire", &["tokio", "serde", "signet-policy"])?;
    must_not_depend("sds-server", &["signet-cli", "wasm-host", "wasmtime", "dev-agent"])?;
    must_not_depend("signet-cli", &["sds-server", "tonic", "spiffe"])?;
    must_not_depend("e2e", &["sds-server", "signet-cli", "dev-agent"])
}

fn must_not_depend(package: &str, strangers: &[&str]) -> Result<()> {
    let tree = cargo()
        .args(["tree", "--package", package, "--edges", "normal,build", "--prefix", "none"])
        .args(["--format", "{p}"])
        .output()?;
    for name in tree.lines().filter_map(|line| line.split(' ').next()) {
        if strangers.contains(&name) {
            bail!("{package} depends on {name}, which it must not know (see ARCHITECTURE.md)");
        }
    }
    Ok(())
}

fn filters() -> Result<()> {
    build::filters()?;
    for filter in build::FILTERS {
        let file = build::filter(filter);
        let size = fs::metadata(&file)?.len();
        if size > LARGEST_FILTER {
            bail!("{filter} has {size} bytes; at most {LARGEST_FILTER} are accepted");
        }
        let code = fs::read(&file)?;
        if contains(&code, b"saphyr") || contains(&code, b"yaml") {
            bail!("{filter} contains a YAML reader");
        }
        println!("   {filter}: {} KB", size / 1000);
    }
    Ok(())
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
