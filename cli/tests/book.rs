//! The policies in the book and under `examples/` are policies, and what their tests say is true.

use std::path::{Path, PathBuf};
use std::process::Command;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Runs `signet policy COMMAND FILE` and returns what it printed where it succeeded.
fn signet(command: &str, file: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_signet"))
        .args(["policy", command])
        .arg(file)
        .output()
        .unwrap();
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told).into_owned();
    assert!(output.status.success(), "{command} {}:\n{told}", file.display());
    told
}

/// The blocks of YAML in a chapter that are whole policies.
fn policies(chapter: &str) -> Vec<&str> {
    let blocks = chapter.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.filter(|block| block.starts_with("version:")).collect()
}

#[test]
fn every_policy_of_the_book_passes_its_tests() {
    for (chapter, at_least) in [("policy.md", 6), ("role-injection.md", 1)] {
        let text = std::fs::read_to_string(repository("docs").join(chapter)).unwrap();
        let policies = policies(&text);
        assert!(policies.len() >= at_least, "{} policies found in {chapter}", policies.len());
        let directory = tempfile::tempdir().unwrap();
        for (i, policy) in policies.iter().enumerate() {
            let file = directory.path().join(format!("example-{i}.yaml"));
            std::fs::write(&file, policy).unwrap();
            signet("check", &file);
            if policy.contains("\ntests:") {
                let told = signet("test", &file);
                assert!(!told.contains(" 0 passed"), "{told}");
            }
        }
    }
}
