//! Files that are read, `-` being standard input.

use std::io::Read;
use std::path::Path;

use signet_policy_document::PolicyDocument;

use crate::error::Error;

/// The policy that a command is about.
#[derive(clap::Args)]
pub(crate) struct PolicyArgument {
    /// The policy, in YAML; `-` is standard input
    #[arg(value_name = "FILE")]
    file: String,
}

impl PolicyArgument {
    /// The file as it was named.
    pub(crate) fn name(&self) -> &str {
        shown(&self.file)
    }

    /// Reads the policy.
    pub(crate) fn read(&self) -> Result<PolicyDocument, Error> {
        Ok(PolicyDocument::parse_bytes(self.name(), &read(&self.file)?)?)
    }
}

/// What a file is called to people.
pub(crate) fn shown(file: &str) -> &str {
    if file == "-" { "standard input" } else { file }
}

/// Reads a whole file.
pub(crate) fn read(file: &str) -> Result<Vec<u8>, Error> {
    let read = if file == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(Path::new(file))
    };
    read.map_err(|source| Error::Read { name: shown(file).to_owned(), source })
}

/// Reads a whole file of text.
pub(crate) fn read_text(file: &str) -> Result<String, Error> {
    String::from_utf8(read(file)?).map_err(|error| Error::Read {
        name: shown(file).to_owned(),
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, error),
    })
}
