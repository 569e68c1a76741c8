//! A part that comes from a pin file is done when its stamp says the same as the pin does now, so a
//! changed pin installs anew and half an installation never counts.

use std::{fs, path::Path};

use anyhow::{Context, Result};

const STAMP: &str = ".pinned-by";

/// True if the folder was installed from exactly these pin files.
pub(super) fn holds(folder: &Path, pins: &[&Path]) -> bool {
    match (fs::read(folder.join(STAMP)), joined(pins)) {
        (Ok(stamp), Ok(pin)) => stamp == pin,
        _ => false,
    }
}

/// Notes, as the last step of an installation, what the folder was installed from.
pub(super) fn stamp(folder: &Path, pins: &[&Path]) -> Result<()> {
    let stamp = folder.join(STAMP);
    fs::write(&stamp, joined(pins)?).with_context(|| format!("cannot write {}", stamp.display()))
}

/// An empty folder for an installation to begin in.
pub(super) fn fresh(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot clear {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}

fn joined(pins: &[&Path]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for pin in pins {
        bytes.extend(fs::read(pin).with_context(|| format!("cannot read {}", pin.display()))?);
    }
    Ok(bytes)
}
