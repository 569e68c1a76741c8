//! The files of `tests/corpus/`.

use std::{fs, path::PathBuf};

use e2e::{Launch, Programs, Stage};

use crate::case::Case;

/// The policies, each a folder.
pub(crate) const POLICIES: [&str; 2] = ["main", "weight"];

/// The workload that decides.
pub(crate) const DESTINATION: &str = "spiffe://example.org/ns/api-ns/sa/api";

/// A policy and the cases about it.
pub(crate) struct Corpus {
    /// The document, for people and sds-server.
    pub(crate) policy: String,
    /// What the filter reads.
    pub(crate) slice: String,
    /// Cases by the name of their file.
    pub(crate) families: Vec<(String, Vec<Case>)>,
}

impl Corpus {
    pub(crate) fn read(policy: &str) -> Self {
        let mut files: Vec<PathBuf> = fs::read_dir(path(policy))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
            .collect();
        files.sort();
        if policy == "main" {
            files.push(path("cves.jsonl"));
        }
        let families = files.iter().map(|file| {
            let name = file.file_stem().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(file).unwrap().lines().map(Case::read).collect())
        });
        Self {
            policy: read(&format!("{policy}/policy.yaml")),
            slice: read(&format!("{policy}/slice.json")),
            families: families.collect(),
        }
    }

    pub(crate) fn cases(&self) -> impl Iterator<Item = &Case> {
        self.families.iter().flat_map(|(_, cases)| cases)
    }
}

/// A file of the corpus.
pub(crate) fn read(file: &str) -> String {
    fs::read_to_string(path(file)).unwrap_or_default()
}

/// Writes a file of the corpus.
pub(crate) fn write(file: &str, text: &str) {
    fs::write(path(file), text).unwrap();
}

/// The slice of a policy as `signet policy compile` prints it.
pub(crate) fn compiled(policy: &str) -> String {
    let stage = Stage::set(None).unwrap();
    let program = Programs::locate().unwrap().own("signet").unwrap();
    Launch::new("signet", program, &stage.accounts.harness)
        .args(["policy", "compile"])
        .arg(path(&format!("{policy}/policy.yaml")))
        .args(["--workload", DESTINATION, "--filter", "http"])
        .output()
        .unwrap()
}

/// Where a file of the corpus lies.
pub(crate) fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(file)
}

/// Compares with a page of the book, or writes it when files are to be written.
pub(crate) fn is_page_of_the_book(name: &str, text: &str) {
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    if std::env::var_os(crate::WRITE).is_some() {
        fs::write(&page, text).unwrap();
    }
    let written = fs::read_to_string(&page).unwrap();
    assert!(written == text, "docs/{name} is stale: run this test with {}=1\n{text}", crate::WRITE);
}
