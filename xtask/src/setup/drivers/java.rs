//! pgjdbc, and the program for it.

use std::{fs, path::PathBuf};

use anyhow::Result;

use super::{folder, sources};
use crate::{
    command::Run,
    setup::{maven, pin},
};

const DRIVER: &str = "pgjdbc";

fn pins() -> [PathBuf; 2] {
    ["jars.pin", "Steps.java"].map(|file| sources(DRIVER).join(file))
}

pub(super) fn is_there() -> bool {
    let [jars, program] = pins();
    pin::holds(&folder(DRIVER), &[&jars, &program]) && maven::java_runs()
}

pub(super) fn install() -> Result<()> {
    let folder = folder(DRIVER);
    pin::fresh(&folder)?;
    let [pinned, program] = pins();
    let jars = maven::copy(&fs::read_to_string(&pinned)?, &folder)?;
    let classpath = std::env::join_paths(jars)?;
    Run::new("javac").arg("-cp").arg(classpath).arg("-d").arg(&folder).arg(&program).succeed()?;
    pin::stamp(&folder, &[&pinned, &program])
}
