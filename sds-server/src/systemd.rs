//! What systemd is told where it started the server with `Type=notify` (`sd_notify(3)`).
//! Elsewhere nothing is told.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::warn;

use crate::admin::Readiness;

/// What was told, so that systemd hears of changes only.
#[derive(Debug, Default)]
pub(crate) struct Systemd {
    ready: bool,
    status: String,
}

impl Systemd {
    /// How often systemd wants to hear from us, by half; `None` where it has no watchdog.
    pub(crate) fn watchdog() -> Option<Duration> {
        sd_notify::watchdog_enabled().map(|limit| limit / 2)
    }

    /// Tells what is new, and that we are alive. `READY=1` is told once: with the first readiness.
    pub(crate) fn tell(&mut self, readiness: &Readiness, stopping: bool) {
        let mut news = vec![NotifyState::Watchdog];
        if stopping {
            news.push(NotifyState::Stopping);
        } else if readiness.ready && !std::mem::replace(&mut self.ready, true) {
            news.push(NotifyState::Ready);
        }
        let status = status(readiness);
        if status != self.status {
            self.status = status;
            news.push(NotifyState::Status(&self.status));
        }
        if let Err(error) = sd_notify::notify(&news) {
            warn!(%error, "systemd cannot be told");
        }
    }
}

/// One line for `systemctl status`.
fn status(readiness: &Readiness) -> String {
    let what = if readiness.ready { "ready" } else { "not ready" };
    let mut told = readiness.reasons.iter().chain(&readiness.warnings);
    told.next().map_or_else(
        || what.to_owned(),
        |first| format!("{what}: {}", first.reason.replace(char::is_control, " ")),
    )
}
