//! The standard library for `wasm32-unknown-unknown`: rustup's where it is present or obtainable, else
//! Debian's compiler of the same name, which builds it from Debian's sources.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::command::{self, Run, install_debian_packages};

/// What Envoy's V8 runs, without WASI imports: less to trust.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Debian's packages of a compiler recent enough for this workspace, and the standard library's source.
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_SOURCES: &str = "/usr/src";

enum Provider {
    Rustup,
    Debian,
}

pub(super) fn found() -> Option<String> {
    match provider()? {
        Provider::Rustup => Some(format!("{TARGET} of rustup's toolchain")),
        Provider::Debian => Some(format!("{TARGET} by Debian's rustc-web and build-std")),
    }
}

pub(super) fn install() -> Result<()> {
    let rustup = Run::new("rustup").args(["target", "add", TARGET]).output();
    let Err(refusal) = rustup else { return Ok(()) };
    println!("   not from rustup ({refusal:#}); taking Debian's compiler");
    install_debian_packages(&DEBIAN_PACKAGES)
}

/// A `cargo build` that can build for [`TARGET`]; the caller adds the packages and the profile.
pub(crate) fn cargo_build() -> Result<Run> {
    match provider() {
        Some(Provider::Rustup) => Ok(command::cargo().arg("build")),
        Some(Provider::Debian) => Ok(Run::new(DEBIAN_CARGO)
            .env("RUSTC", DEBIAN_RUSTC)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", rust_lld()?)
            .args(["build", "-Zbuild-std=std,panic_abort"])),
        None => bail!("no standard library for {TARGET}; run `cargo xtask setup wasm-target`"),
    }
}

fn provider() -> Option<Provider> {
    let sysroot = sysroot().ok()?;
    if Path::new(&sysroot).join("lib/rustlib").join(TARGET).join("lib").is_dir() {
        return Some(Provider::Rustup);
    }
    let debian = [DEBIAN_CARGO, DEBIAN_RUSTC].iter().all(|program| Path::new(program).is_file())
        && has_debian_sources();
    debian.then_some(Provider::Debian)
}

fn has_debian_sources() -> bool {
    std::fs::read_dir(DEBIAN_SOURCES).is_ok_and(|entries| {
        entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("rustc-"))
    })
}

/// The linker that rustup's toolchain carries; Debian's compiler comes without one for wasm.
fn rust_lld() -> Result<String> {
    let sysroot = sysroot()?;
    let host = Run::new("rustc").arg("-vV").output()?;
    let host = host
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("`rustc -vV` names no host")?;
    Ok(format!("{sysroot}/lib/rustlib/{host}/bin/rust-lld"))
}

fn sysroot() -> Result<String> {
    Ok(Run::new("rustc").args(["--print", "sysroot"]).output()?.trim().to_owned())
}
