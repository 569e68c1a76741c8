//! Where the programs lie that the harness starts. A missing one is an error that says what to run.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::PostgresVersion;

/// The programs on this machine: ours beside this very binary, the others where setup puts them.
#[derive(Clone, Debug)]
pub struct Programs {
    repository: PathBuf,
    target: PathBuf,
}

impl Programs {
    /// Finds the repository and the build directory.
    pub fn locate() -> Result<Self> {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("the crate has no parent directory")?
            .to_path_buf();
        let this = env::current_exe().context("cannot tell where this program lies")?;
        let target = this
            .ancestors()
            .skip(1)
            .find(|folder| !folder.ends_with("deps"))
            .context("this program lies in no directory")?
            .to_path_buf();
        Ok(Self { repository, target })
    }

    /// A file of the repository, by its path from the root.
    pub fn repository_file(&self, path: &str) -> Result<PathBuf> {
        present(self.repository.join(path), "is this a whole checkout?")
    }

    /// One of our own programs.
    pub fn own(&self, name: &str) -> Result<PathBuf> {
        present(self.target.join(name), "run cargo xtask build")
    }

    /// One of our examples, which are built only where they are asked for.
    pub fn example(&self, name: &str) -> PathBuf {
        self.target.join("examples").join(name)
    }

    /// One of our Wasm filters, e.g. `pg_role`.
    pub fn filter(&self, name: &str) -> Result<PathBuf> {
        let file = format!("wasm32-unknown-unknown/filters/{name}.wasm");
        let built = self.target.parent().context("no build directory")?.join(file);
        present(built, "run cargo xtask build")
    }

    /// Envoy.
    pub fn envoy(&self) -> Result<PathBuf> {
        self.tool("envoy/envoy")
    }

    /// SPIRE's server.
    pub fn spire_server(&self) -> Result<PathBuf> {
        self.tool("spire/spire-server")
    }

    /// SPIRE's agent.
    pub fn spire_agent(&self) -> Result<PathBuf> {
        self.tool("spire/spire-agent")
    }

    /// The installation of a Postgres: the directory that holds `bin`, `lib` and `share`.
    pub fn postgres(&self, version: PostgresVersion) -> Result<PathBuf> {
        match version {
            PostgresVersion::V15 => {
                present("/usr/lib/postgresql/15".into(), "run cargo xtask setup")
            }
            PostgresVersion::V18 => self.tool("postgres-18"),
        }
    }

    /// Debian's psql, for what a person would type.
    pub fn psql(&self) -> Result<PathBuf> {
        present("/usr/lib/postgresql/15/bin/psql".into(), "run cargo xtask setup")
    }

    /// What setup installed or built for a connection pool, e.g. `pgxpool/load`.
    pub fn pool(&self, path: &str) -> Result<PathBuf> {
        self.tool(&format!("pools/{path}"))
    }

    /// What setup installed or built for a Postgres driver, e.g. `pgx/steps`.
    pub fn driver(&self, path: &str) -> Result<PathBuf> {
        self.tool(&format!("drivers/{path}"))
    }

    fn tool(&self, path: &str) -> Result<PathBuf> {
        let found = present(self.repository.join(".tools").join(path), "run cargo xtask setup")?;
        found.canonicalize().with_context(|| format!("cannot resolve {}", found.display()))
    }
}

fn present(path: PathBuf, repair: &str) -> Result<PathBuf> {
    if !path.exists() {
        bail!("{} is missing: {repair}", path.display());
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_says_what_to_run() {
        let programs = Programs { repository: "/nowhere".into(), target: "/nowhere/debug".into() };
        let complaint = programs.envoy().unwrap_err().to_string();
        assert_eq!(complaint, "/nowhere/.tools/envoy/envoy is missing: run cargo xtask setup");
    }
}
