//! The clock and the timer that runs all sessions of a VM.

use host_calls::{HostError, set_tick_period_milliseconds, unix_seconds};

/// How often deadlines are looked at.
const TICK_MILLISECONDS: u32 = 1_000;

/// Starts the timer of the root context at hand.
pub(crate) fn start() -> Result<(), HostError> {
    set_tick_period_milliseconds(TICK_MILLISECONDS)
}

/// Seconds since 1970. A clock that cannot be read shows the end of time: everything has expired.
pub(crate) fn now() -> u64 {
    unix_seconds().unwrap_or(u64::MAX)
}
