//! The policy file of a run: a copy of the demo's, to be edited while everything runs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::Stage;

/// A policy document that the servers watch.
#[derive(Debug)]
pub struct PolicyFile {
    path: PathBuf,
}

impl PolicyFile {
    /// Copies `examples/policies/demo.yaml` to a directory of its own.
    pub fn demo(stage: &Stage) -> Result<Self> {
        let directory = stage.directory("policy", &stage.accounts.mesh)?;
        let original = stage.programs.repository_file("examples/policies/demo.yaml")?;
        let file = Self { path: directory.join("policy.yaml") };
        file.write(&fs::read_to_string(original)?)?;
        Ok(file)
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says.
    pub fn read(&self) -> Result<String> {
        fs::read_to_string(&self.path)
            .with_context(|| format!("cannot read {}", self.path.display()))
    }

    /// Replaces it whole, by a rename, as an editor or a deployment would.
    pub fn write(&self, text: &str) -> Result<()> {
        let draft = self.path.with_extension("draft");
        fs::write(&draft, text).with_context(|| format!("cannot write {}", draft.display()))?;
        fs::rename(&draft, &self.path)
            .with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Replaces a passage, which must be there.
    pub fn edit(&self, passage: &str, replacement: &str) -> Result<()> {
        let text = self.read()?;
        if !text.contains(passage) {
            bail!("the policy does not say {passage:?}");
        }
        self.write(&text.replacen(passage, replacement, 1))
    }
}
