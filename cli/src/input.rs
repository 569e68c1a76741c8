//! Files that are read, `-` being standard input.

use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use signet_policy_document::{PolicyDocument, files_of};

use crate::error::Error;

/// The policy that a command is about.
#[derive(clap::Args)]
pub(crate) struct PolicyArgument {
    /// The policy, in YAML: a file, a directory whose *.yaml are one policy, or `-` for standard
    /// input
    #[arg(value_name = "FILE")]
    file: String,
}

impl PolicyArgument {
    /// The file as it was named.
    pub(crate) fn name(&self) -> &str {
        shown(&self.file)
    }

    /// Reads the policy.
    pub(crate) fn read(&self) -> Result<&'static PolicyDocument, Error> {
        read_policy(&self.file)
    }
}

/// Reads a policy: a file, or a directory of them. It lives as long as the process: who waits for a decision doesn't
/// wait until all pieces of a large one are freed.
pub(crate) fn read_policy(file: &str) -> Result<&'static PolicyDocument, Error> {
    let document = parse(file)?;
    Ok(Box::leak(Box::new(document)))
}

fn parse(file: &str) -> Result<PolicyDocument, Error> {
    let name = shown(file);
    if file == "-" || !Path::new(file).is_dir() {
        return Ok(PolicyDocument::parse_bytes(name, read(file)?)?);
    }
    let files = files_of(Path::new(file))
        .map_err(|source| Error::Read { name: name.to_owned(), source })?;
    let files = files.into_iter().map(|path| path.display().to_string());
    let texts = files.map(|file| read(&file).map(|bytes| (file, bytes)));
    Ok(PolicyDocument::parse_files(name, texts.collect::<Result<_, Error>>()?)?)
}

/// What a file is called to people.
pub(crate) fn shown(file: &str) -> &str {
    if file == "-" { "standard input" } else { file }
}

/// Reads a whole file.
pub(crate) fn read(file: &str) -> Result<Vec<u8>, Error> {
    let read = if file == "-" { read_standard_input() } else { std::fs::read(Path::new(file)) };
    read.map_err(|source| Error::Read { name: shown(file).to_owned(), source })
}

/// Reads all of standard input. A second time nothing would be there, which could be taken for a file without cases.
fn read_standard_input() -> io::Result<Vec<u8>> {
    static IS_READ: AtomicBool = AtomicBool::new(false);
    if IS_READ.swap(true, Ordering::Relaxed) {
        return Err(io::Error::other("another `-` was read from it; one file can be `-`"));
    }
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a whole file of text.
pub(crate) fn read_text(file: &str) -> Result<String, Error> {
    String::from_utf8(read(file)?).map_err(|error| Error::Read {
        name: shown(file).to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidData, error),
    })
}
