//! A flood of what peers do wrong is no flood of log lines.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::locked;

const SECOND: Duration = Duration::from_secs(1);

/// What was logged lately, by class.
#[derive(Debug)]
pub(super) struct Thinning {
    /// Lines of one class that are logged in a second.
    lines: u64,
    classes: Mutex<HashMap<&'static str, Lately>>,
}

#[derive(Debug)]
struct Lately {
    since: Instant,
    happened: u64,
}

impl Thinning {
    /// At most so many `lines` of one class in a second.
    pub(super) fn to(lines: u64) -> Self {
        Self { lines, classes: Mutex::default() }
    }

    /// Whether to log that `class` has happened once more: then how many were passed over before it.
    pub(super) fn admit(&self, class: &'static str, now: Instant) -> Option<u64> {
        let mut classes = locked(&self.classes);
        let lately = classes.entry(class).or_insert(Lately { since: now, happened: 0 });
        let mut passed_over = 0;
        if now >= lately.since + SECOND {
            passed_over = lately.happened.saturating_sub(self.lines);
            *lately = Lately { since: now, happened: 0 };
        }
        lately.happened += 1;
        (lately.happened <= self.lines).then_some(passed_over)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Thinning;

    const LINES: u64 = 10;

    #[test]
    fn what_was_passed_over_is_told_with_the_next() {
        let (thinning, now) = (Thinning::to(LINES), Instant::now());
        let logged = (0..1000).filter(|_| thinning.admit("uid", now).is_some()).count();
        assert_eq!(logged as u64, LINES);
        assert_eq!(thinning.admit("gid", now), Some(0), "classes do not hide each other");
        let later = now + Duration::from_secs(1);
        assert_eq!(thinning.admit("uid", later), Some(1000 - LINES));
        assert_eq!(thinning.admit("uid", later), Some(0));
    }
}
