//! What systemd is told where it started the server with `Type=notify` (`sd_notify(3)`).
//! Elsewhere nothing is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;
use tracing::warn;

use crate::admin::Readiness;

/// What was told, so that systemd hears of changes only.
#[derive(Debug)]
pub(crate) struct Systemd {
    ready: Started,
    status: String,
}

/// Whether systemd was told that the server is ready. Cloned; its parts share it.
#[derive(Debug, Clone, Default)]
pub struct Started(Arc<AtomicBool>);

impl Started {
    /// Tells that the configuration is being read anew, and when `read` is done that it was: `Type=notify-reload`
    /// waits for both. Before the server is ready it has nothing to reload.
    pub(crate) fn reload(&self, read: impl FnOnce()) {
        let started = self.0.load(Ordering::Relaxed);
        if started {
            // systemd compares this time with that of its signal.
            match NotifyState::monotonic_usec_now() {
                Ok(now) => notify(&[NotifyState::Reloading, now]),
                Err(error) => warn!(%error, "systemd cannot be told of a reload"),
            }
        }
        read();
        if started {
            notify(&[NotifyState::Ready]);
        }
    }
}

fn notify(news: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(news) {
        warn!(%error, "systemd cannot be told");
    }
}

impl Systemd {
    /// Nothing was told yet; `ready` will say when that is so no longer.
    pub(crate) fn new(ready: Started) -> Self {
        Self { ready, status: String::new() }
    }

    /// How often systemd wants to hear from us, by half; `None` where it has no watchdog.
    pub(crate) fn watchdog() -> Option<Duration> {
        sd_notify::watchdog_enabled().map(|limit| limit / 2)
    }

    /// Tells what is new, and that we are alive. `READY=1` is told once: with the first readiness.
    pub(crate) fn tell(&mut self, readiness: &Readiness, stopping: bool) {
        let mut news = vec![NotifyState::Watchdog];
        if stopping {
            news.push(NotifyState::Stopping);
        } else if readiness.ready && !self.ready.0.swap(true, Ordering::Relaxed) {
            news.push(NotifyState::Ready);
        }
        let status = status(readiness);
        if status != self.status {
            self.status = status;
            news.push(NotifyState::Status(&self.status));
        }
        notify(&news);
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
