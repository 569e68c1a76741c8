//! Every test of the workspace, with the programs and filters that they run built before.

use std::{
    io::{BufRead, BufReader, Write},
    process::Stdio,
};

use anyhow::{Context, Result, bail};

use crate::{
    build,
    command::cargo,
    setup::{self, Part},
};

/// Runs `cargo test` and closes with one line that counts the tests of all its binaries.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    setup::ensure(Part::FOR_TESTS)?;
    build::everything()?;
    println!("── test");
    let selects_packages = arguments.iter().any(|argument| {
        ["-p", "--package", "--workspace"].iter().any(|flag| argument.starts_with(flag))
    });
    let scope: &[&str] = if selects_packages { &[] } else { &["--workspace"] };
    let mut tests = cargo()
        .args(["test", "--no-fail-fast"])
        .args(scope)
        .args(arguments)
        .into_command()
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run cargo test")?;

    let mut count = Count::default();
    let mut stdout = std::io::stdout().lock();
    for line in BufReader::new(tests.stdout.take().context("cargo test has no stdout")?).lines() {
        let line = line?;
        count.add(&line);
        writeln!(stdout, "{line}")?;
    }
    let status = tests.wait()?;
    let Count { passed, failed, skipped } = count;
    writeln!(stdout, "\n{passed} passed, {failed} failed, {skipped} skipped")?;
    if !status.success() {
        bail!("cargo test failed with {status}");
    }
    Ok(())
}

/// The sum of libtest's closing lines.
#[derive(Default)]
struct Count {
    passed: u32,
    failed: u32,
    skipped: u32,
}

impl Count {
    /// Adds a line of the form `test result: ok. 3 passed; 0 failed; 0 ignored; …`.
    fn add(&mut self, line: &str) {
        let Some((_, numbers)) =
            line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for number in numbers.split("; ") {
            let Some((amount, what)) = number.split_once(' ') else { continue };
            let amount = amount.parse().unwrap_or(0);
            match what {
                "passed" => self.passed += amount,
                "failed" => self.failed += amount,
                "ignored" => self.skipped += amount,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Count;

    #[test]
    fn sums_the_closing_lines_of_all_binaries() {
        let mut count = Count::default();
        for line in [
            "running 4 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 2 passed; 5 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ] {
            count.add(line);
        }
        assert_eq!((count.passed, count.failed, count.skipped), (5, 5, 1));
    }
}
