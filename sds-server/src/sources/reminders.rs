//! The same trouble is logged once, and again after a while.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

/// The same trouble is logged again after this time.
const REMINDER: Duration = Duration::from_secs(30);

/// What was logged lately.
#[derive(Debug, Default)]
pub(super) struct Reminders {
    logged: Mutex<HashMap<String, Instant>>,
}

impl Reminders {
    /// Logs `reason` unless it was logged lately, by whomever.
    pub(super) fn warn(&self, reason: &str, message: &str) {
        if self.is_due(reason, Instant::now()) {
            warn!(reason, "{message}");
        }
    }

    fn is_due(&self, reason: &str, now: Instant) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        logged.retain(|_, at| now - *at < REMINDER);
        if logged.contains_key(reason) {
            return false;
        }
        logged.insert(reason.to_owned(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{REMINDER, Reminders};

    #[test]
    fn the_same_is_due_once_and_after_a_while() {
        let (reminders, now) = (Reminders::default(), Instant::now());
        assert!(reminders.is_due("no socket", now) && reminders.is_due("silent", now));
        assert!(!reminders.is_due("no socket", now + Duration::from_secs(1)));
        assert!(reminders.is_due("no socket", now + REMINDER));
    }
}
