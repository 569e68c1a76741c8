//! What takes minutes or hours: long versions of tests that are short in the test command.

use anyhow::Result;
use clap::ValueEnum;

use crate::{
    build,
    command::{Run, cargo},
    setup::{self, Part},
};

/// What can be made long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Soak {
    /// Whatever reads what others write: patterns, slices, documents, requests; the bytes of Postgres and
    /// its clients, also through the built filter; the server's sessions and its gRPC surface
    Fuzz,
    /// Random policies: the reference, the crate, the filters in wasmtime and in a real Envoy agree
    Differential,
    /// A hundred peers that never read, through a thousand rotations; floods of HTTP/2, peers beyond the limits
    Readers,
    /// Rotations, reconnects, kills and a frozen server, with two real Envoys
    Sds,
    /// Ten thousand half-open connections to a database's Envoy
    HalfOpen,
    /// Every driver's session, silent for an hour
    Idle,
}

/// How many inputs unless it is said.
const INPUTS: u64 = 1_000_000;

/// A document is a thousand times the work of a pattern.
const INPUTS_TO_A_DOCUMENT: u64 = 100;

/// Forty requests to each.
const POLICIES: &str = "250";

/// Runs these parts, or all, one after the other; `inputs` is for fuzzing.
pub(crate) fn run(parts: &[Soak], inputs: Option<u64>) -> Result<()> {
    let parts = if parts.is_empty() { Soak::value_variants() } else { parts };
    setup::ensure(Part::FOR_TESTS)?;
    build::everything()?;
    for part in parts {
        let long = match part {
            Soak::Fuzz => {
                fuzz(inputs.unwrap_or(INPUTS))?;
                continue;
            }
            Soak::Differential => {
                let packages = ["-p", "signet-policy", "-p", "e2e", "--test=differential"];
                test("random policies", &packages).env("SIGNET_DIFFERENTIAL_POLICIES", POLICIES)
            }
            Soak::Readers => {
                let floods =
                    ["--profile=soak", "-p", "sds-server", "--test=floods", "--test=admission"];
                test("peers that never read", &floods).env("SIGNET_ROTATIONS", "1000")
            }
            Soak::Sds => {
                let scenarios = ["-p", "e2e", "--test=sds"];
                test("SDS with real Envoys", &scenarios).env("SIGNET_SOAK", "1")
            }
            Soak::HalfOpen => {
                let floods = ["-p", "e2e", "--test=postgres_path", "half_open"];
                test("half-open connections", &floods).env("SIGNET_HALF_OPEN", "10000")
            }
            Soak::Idle => {
                let drivers = ["-p", "e2e", "--test=drivers"];
                test("silent sessions", &drivers).env("SIGNET_IDLE_SECONDS", "3500")
            }
        };
        long.succeed()?;
    }
    Ok(())
}

fn fuzz(inputs: u64) -> Result<()> {
    let documents = inputs.div_ceil(INPUTS_TO_A_DOCUMENT);
    for (package, target, name, inputs) in [
        ("signet-policy", "--test=fuzz", "", inputs),
        ("signet-policy-document", "--test=fuzz", "", documents),
        ("pgwire", "--test=fuzz", "", inputs),
        ("wasm-host", "--test=pg_role", "fuzz", inputs),
        ("sds-server", "--lib", "session::tests::fuzz", inputs),
        ("sds-server", "--test=malformed", "whatever", inputs),
    ] {
        let what = format!("{inputs} inputs, {package} {target} {name}");
        test(&what, &["--profile=soak", "-p", package, target, name])
            .env("SIGNET_FUZZ_INPUTS", inputs.to_string())
            .succeed()?;
    }
    Ok(())
}

/// `cargo test` with these arguments, after a line that says what is run. Tests that measure print it, as lines that
/// begin with `measured:`.
fn test(what: &str, arguments: &[&str]) -> Run {
    println!("── soak: {what}");
    cargo().arg("test").args(arguments).args(["--", "--nocapture"])
}
