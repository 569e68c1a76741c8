//! Whatever Postgres and running clients send, in any pieces: no panic, and never more is understood than is there.
//!
//! Each part has a reference that reads all of the bytes at once and shares no code with the crate. The test command takes
//! some thousands of inputs; `SIGNET_FUZZ_INPUTS=1000000` makes it as many, beginning with the same.

mod chance;
mod client;
mod options;
mod server;

use chance::Chance;

/// Runs a test on many inputs; how often it says that there was something to see.
fn each(mut test: impl FnMut(&mut Chance) -> bool) -> usize {
    let wanted = std::env::var("SIGNET_FUZZ_INPUTS").ok().and_then(|count| count.parse().ok());
    let mut chance = Chance::default();
    let seen = (0..wanted.unwrap_or(INPUTS)).filter(|_| test(&mut chance)).count();
    println!("{} inputs, {seen} with something to see", wanted.unwrap_or(INPUTS));
    seen
}

/// Inputs in the test command.
const INPUTS: usize = 10_000;
