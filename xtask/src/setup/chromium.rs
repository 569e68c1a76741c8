//! Chromium from Debian, for the test of the server's admin page.

use anyhow::Result;

use crate::{
    build::version_of,
    command::{install_debian_packages, on_path},
};

const PROGRAM: &str = "chromium";

pub(super) fn found() -> Option<String> {
    on_path(PROGRAM).then(|| version_of(PROGRAM.as_ref()).ok())?
}

pub(super) fn install() -> Result<()> {
    install_debian_packages(&["chromium", "fonts-dejavu-core"])
}
