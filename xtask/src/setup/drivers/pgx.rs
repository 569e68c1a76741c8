//! The program for pgx, built from Go modules that `go.sum` pins.

use std::path::PathBuf;

use anyhow::Result;

use super::{folder, sources};
use crate::setup::{go_program, pin};

const DRIVER: &str = "pgx";

fn pins() -> [PathBuf; 3] {
    ["go.mod", "go.sum", "main.go"].map(|file| sources(DRIVER).join(file))
}

pub(super) fn is_there() -> bool {
    let [modules, sums, program] = pins();
    pin::holds(&folder(DRIVER), &[&modules, &sums, &program])
}

pub(super) fn install() -> Result<()> {
    pin::fresh(&folder(DRIVER))?;
    go_program::build(&sources(DRIVER), &folder(DRIVER).join("steps"))?;
    let [modules, sums, program] = pins();
    pin::stamp(&folder(DRIVER), &[&modules, &sums, &program])
}
