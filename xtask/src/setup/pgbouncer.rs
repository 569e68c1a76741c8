//! `PgBouncer` from Debian, with which the Postgres bench compares.

use std::path::Path;

use anyhow::Result;

use crate::{build::version_of, command::install_debian_packages};

/// Not on everybody's PATH.
const PROGRAM: &str = "/usr/sbin/pgbouncer";

pub(super) fn found() -> Option<String> {
    version_of(Path::new(PROGRAM)).ok()
}

pub(super) fn install() -> Result<()> {
    install_debian_packages(&["pgbouncer"])
}
