//! What takes minutes or hours: long versions of tests that are short in the test command.

use anyhow::Result;
use clap::ValueEnum;

use crate::{
    build,
    command::cargo,
    setup::{self, Part},
};

/// What can be made long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Soak {
    /// The server's session and gRPC surface: a million random conversations and malformed bodies
    Fuzz,
    /// A hundred peers that never read, through a thousand rotations
    Readers,
    /// Rotations, reconnects, kills and a frozen server, with two real Envoys
    Sds,
}

/// How many inputs unless it is said.
const INPUTS: u64 = 1_000_000;

/// Runs these parts, or all, one after the other; `inputs` is for fuzzing.
pub(crate) fn run(parts: &[Soak], inputs: Option<u64>) -> Result<()> {
    let parts = if parts.is_empty() { Soak::value_variants() } else { parts };
    for part in parts {
        match part {
            Soak::Fuzz => {
                let inputs = inputs.unwrap_or(INPUTS).to_string();
                // Optimized: a million in minutes. What overflows shall be noticed all the same.
                for (target, name) in
                    [("--lib", "session::tests::fuzz"), ("--test=malformed", "whatever")]
                {
                    println!("── soak: {inputs} inputs, {name}");
                    cargo()
                        .args(["test", "--release", "--package", "sds-server", target, name])
                        .env("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true")
                        .env("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "true")
                        .env("SIGNET_FUZZ_CASES", &inputs)
                        .succeed()?;
                }
            }
            Soak::Readers => {
                println!("── soak: peers that never read");
                cargo()
                    .args(["test", "--release", "--package", "sds-server", "--test", "floods"])
                    .env("SIGNET_TEST_ROTATIONS", "1000")
                    .succeed()?;
            }
            Soak::Sds => {
                setup::ensure(Part::FOR_TESTS)?;
                build::everything()?;
                println!("── soak: SDS with real Envoys");
                cargo()
                    .args(["test", "--package", "e2e", "--test", "sds"])
                    .env("SOAK", "1")
                    .succeed()?;
            }
        }
    }
    Ok(())
}
