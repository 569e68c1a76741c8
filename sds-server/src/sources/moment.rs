//! "Now" as a value, so that what depends on time can be tested without waiting.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// The time of day, against which certificates are checked, and the steady clock, by which delays
/// are counted.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The time of day; an operator may turn it.
    pub wall: SystemTime,
    /// Never goes back.
    pub steady: Instant,
}

impl Moment {
    /// This moment.
    pub fn now() -> Self {
        Self { wall: SystemTime::now(), steady: Instant::now() }
    }

    /// A later moment.
    #[must_use]
    pub fn plus(self, time: Duration) -> Self {
        Self { wall: self.wall + time, steady: self.steady + time }
    }

    /// When the steady clock will show that the time of day is `wall`; now if that has passed.
    pub fn until(self, wall: SystemTime) -> Instant {
        self.steady + wall.duration_since(self.wall).unwrap_or_default()
    }
}
