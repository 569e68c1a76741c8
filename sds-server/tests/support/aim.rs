//! What took how long or how much, beside what was aimed at. Nothing is judged by it: a busy machine is slow.
//! `cargo xtask soak` shows it.

use std::time::Duration;

/// Tells a length of time.
pub(crate) fn told_time(what: &str, found: Duration, aim: Duration) {
    let (found, aim) = (found.as_secs_f64() * 1e3, aim.as_secs_f64() * 1e3);
    told(what, found, aim, "ms");
}

/// Tells a length of time for which there is no aim.
pub(crate) fn noted(what: &str, found: Duration) {
    println!("measured: {what}: {:.1} ms", found.as_secs_f64() * 1e3);
}

/// Tells memory, in KiB.
pub(crate) fn told_memory(what: &str, found: u64, aim: u64) {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    told(what, found as f64, aim as f64, "KiB");
}

/// Tells the longest of all times but one in a hundred.
pub(crate) fn told_p99(what: &str, mut times: Vec<Duration>, aim: Duration) {
    times.sort();
    if let Some(at) = (times.len() * 99).div_ceil(100).checked_sub(1) {
        told_time(&format!("{what}, p99 of {}", times.len()), times[at], aim);
    }
}

fn told(what: &str, found: f64, aim: f64, unit: &str) {
    let verdict = if found <= aim { "met" } else { "MISSED" };
    println!("measured: {what}: {found:.1} {unit}, aim {aim} {unit}: {verdict}");
}
