//! CPU time of one measurement.

use anyhow::Result;
use e2e::usage;

use super::proxy::Proxy;

/// CPU time spent so far, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cpu {
    pub(super) envoy: u64,
    /// Callers and upstream: the bench itself.
    pub(super) bench: u64,
}

impl Cpu {
    /// Looks at both processes.
    pub(super) fn of(proxy: &Proxy) -> Result<Self> {
        Ok(Self { envoy: usage::cpu(proxy.id())?, bench: usage::cpu(std::process::id())? })
    }

    /// What was spent since then.
    pub(super) fn since(self, then: Self) -> Self {
        Self {
            envoy: self.envoy.saturating_sub(then.envoy),
            bench: self.bench.saturating_sub(then.bench),
        }
    }
}
