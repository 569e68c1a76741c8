//! Jars of Maven Central, each pinned by its SHA-256.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::command::{Run, install_debian_packages, on_path};

/// True if what was compiled can be run, and compiled again.
pub(super) fn java_runs() -> bool {
    on_path("java") && on_path("javac")
}

/// Copies the pinned jars into `folder`, without their versions, and returns them. `pins` names each artifact
/// (`group:name:version`) and, after white space, its SHA-256.
pub(super) fn copy(pins: &str, folder: &Path) -> Result<Vec<PathBuf>> {
    if !java_runs() {
        install_debian_packages(&["openjdk-17-jdk-headless"])?;
    }
    if !on_path("mvn") {
        install_debian_packages(&["maven"])?;
    }
    let words: Vec<&str> = pins.split_whitespace().collect();
    words.chunks(2).map(|pin| jar(pin, folder)).collect()
}

fn jar(pin: &[&str], folder: &Path) -> Result<PathBuf> {
    let &[artifact, sum] = pin else { bail!("{pin:?} is no pin: an artifact, and its SHA-256") };
    let name = artifact.split(':').nth(1).with_context(|| format!("{artifact} has no name"))?;
    Run::new("mvn")
        .directory(folder)
        .args(["--quiet", "--batch-mode", "dependency:copy", "-Dmdep.stripVersion=true"])
        .arg(format!("-Dartifact={artifact}"))
        .arg(format!("-DoutputDirectory={}", folder.display()))
        .succeed()?;
    let jar = folder.join(format!("{name}.jar"));
    let printed = Run::new("sha256sum").arg(&jar).output()?;
    let found = printed.split_whitespace().next().unwrap_or_default();
    if found != sum {
        bail!("{} has the SHA-256 {found}; pinned is {sum}", jar.display());
    }
    Ok(jar)
}
