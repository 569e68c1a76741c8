//! CPU time, as the kernel counts it.

use std::fs;

use anyhow::{Context, Result};

use crate::proxy::Proxy;

/// CPU time spent so far, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpu {
    pub(crate) envoy: u64,
    /// Callers and upstream: the bench itself.
    pub(crate) bench: u64,
}

impl Cpu {
    /// Looks at both processes.
    pub(crate) fn of(proxy: &Proxy) -> Result<Self> {
        Ok(Self { envoy: spent_by(proxy.id())?, bench: spent_by(std::process::id())? })
    }

    /// What was spent since then.
    pub(crate) fn since(self, then: Self) -> Self {
        Self {
            envoy: self.envoy.saturating_sub(then.envoy),
            bench: self.bench.saturating_sub(then.bench),
        }
    }
}

/// By all threads of a process; none of ours ends while it is measured.
fn spent_by(process: u32) -> Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let spent = fs::read_to_string(thread?.path().join("schedstat"))
            .context("this kernel does not tell CPU time in nanoseconds (schedstat)")?;
        sum += spent.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(sum)
}
