//! What a process has used, as the kernel counts it.

use std::fs;

use anyhow::{Context, Result};

/// CPU time spent so far by all threads of a process, in nanoseconds. The time of a thread that
/// ends is lost, so a difference may come out too small, never below 0.
pub fn cpu(process: u32) -> Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        // A thread may end while it is looked at.
        let Ok(spent) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        sum += spent
            .split(' ')
            .next()
            .and_then(|spent| spent.parse::<u64>().ok())
            .context("this kernel does not tell CPU time in nanoseconds (schedstat)")?;
    }
    Ok(sum)
}

/// Resident memory in bytes.
pub fn rss(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no VmRSS")?;
    Ok(kib.parse::<u64>()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::{cpu, rss};

    #[test]
    fn this_process_uses_something() {
        let this = std::process::id();
        let before = cpu(this).unwrap();
        while cpu(this).unwrap() == before {}
        assert!(rss(this).unwrap() > 100_000);
    }
}
