//! node-postgres, from the npm packages that its lock file pins by their hashes.

use std::{fs, path::PathBuf};

use anyhow::{Result, bail};

use super::{folder, sources};
use crate::{
    command::{Run, on_path},
    setup::pin,
};

const DRIVER: &str = "node-postgres";

fn pins() -> [PathBuf; 2] {
    ["package.json", "package-lock.json"].map(|file| sources(DRIVER).join(file))
}

pub(super) fn is_there() -> bool {
    let [package, lock] = pins();
    pin::holds(&folder(DRIVER), &[&package, &lock]) && on_path("node")
}

pub(super) fn install() -> Result<()> {
    if !on_path("npm") {
        bail!("npm is not on the PATH; install Node.js 18 or newer with npm, and run this again");
    }
    let folder = folder(DRIVER);
    pin::fresh(&folder)?;
    let [package, lock] = pins();
    fs::copy(&package, folder.join("package.json"))?;
    fs::copy(&lock, folder.join("package-lock.json"))?;
    Run::new("npm")
        .directory(&folder)
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
        .succeed()?;
    pin::stamp(&folder, &[&package, &lock])
}
