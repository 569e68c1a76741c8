//! A flood of refusals is no flood of log lines.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::locked;

/// Lines about refusals of one class that are logged in a second. Whoever is refused may try
/// without end.
const LINES: u64 = 10;
const SECOND: Duration = Duration::from_secs(1);

/// What was logged lately, by class.
#[derive(Debug, Default)]
pub(super) struct Thinning(Mutex<HashMap<&'static str, Lately>>);

#[derive(Debug)]
struct Lately {
    since: Instant,
    refusals: u64,
}

impl Thinning {
    /// Whether to log one more refusal of `class`: then how many were passed over before it.
    pub(super) fn admit(&self, class: &'static str, now: Instant) -> Option<u64> {
        let mut classes = locked(&self.0);
        let lately = classes.entry(class).or_insert(Lately { since: now, refusals: 0 });
        let mut passed_over = 0;
        if now >= lately.since + SECOND {
            passed_over = lately.refusals.saturating_sub(LINES);
            *lately = Lately { since: now, refusals: 0 };
        }
        lately.refusals += 1;
        (lately.refusals <= LINES).then_some(passed_over)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{LINES, Thinning};

    #[test]
    fn what_was_passed_over_is_told_with_the_next() {
        let (thinning, now) = (Thinning::default(), Instant::now());
        let logged = (0..1000).filter(|_| thinning.admit("uid", now).is_some()).count();
        assert_eq!(logged as u64, LINES);
        assert_eq!(thinning.admit("gid", now), Some(0), "classes do not hide each other");
        let later = now + Duration::from_secs(1);
        assert_eq!(thinning.admit("uid", later), Some(1000 - LINES));
        assert_eq!(thinning.admit("uid", later), Some(0));
    }
}
