//! Changes of the configuration while the server runs.
//!
//! A new version of the file is in force as a whole or not at all. It is refused where it is faulty,
//! and where it changes a key that is looked at only when the server starts: nobody should believe
//! that such a change counts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{Config, ConfigError, LiveConfig};
use crate::file_watch::FileWatch;
use crate::metrics::Metrics;
use crate::systemd::Started;

/// The keys that may change while the server runs, with all below them. What a list of peers, users
/// or groups no longer lets in is disconnected; limits count for what is opened afterwards.
pub const LIVE_KEYS: [&str; 19] = [
    "drain",
    "limits.connections",
    "limits.connections_per_peer",
    "limits.header_bytes",
    "limits.keepalive",
    "limits.keepalive_timeout",
    "limits.message_bytes",
    "limits.names_per_request",
    "limits.opens_burst",
    "limits.opens_per_second",
    "limits.own_resets",
    "limits.pending_resets",
    "limits.slow_reader",
    "limits.streams_per_connection",
    "limits.window_bytes",
    "listen.allowed_gids",
    "listen.allowed_uids",
    "listen.tcp.allow",
    "on_demand",
];

/// A configuration, and the file that it was read from.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    path: PathBuf,
    /// The keys as they are written, without defaults.
    written: Value,
    config: Arc<Config>,
}

/// Why a new version of the file is not in force; `None` while it is.
pub type ConfigFault = Option<String>;

impl ConfigFile {
    /// Reads and checks a configuration file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.into(), source })?;
        let invalid = |fault| ConfigError::Invalid { path: path.into(), fault };
        let config = Arc::new(Config::parse(&text).map_err(invalid)?);
        let written = serde_saphyr::from_str(&text).map_err(|e| invalid(e.to_string()))?;
        Ok(Self { path: path.into(), written, config })
    }

    /// What the file says.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }
}

/// The task that follows the file, and is the one writer of the configuration in force.
#[derive(Debug)]
pub struct Reloader {
    file: ConfigFile,
    live: watch::Sender<Arc<Config>>,
    fault: watch::Sender<ConfigFault>,
    metrics: Metrics,
    started: Started,
}

impl Reloader {
    /// A reloader of `file`, the configuration in force, and why a newer one is not. systemd hears of reloads
    /// once it has `started`.
    pub fn new(
        file: ConfigFile,
        metrics: Metrics,
        started: Started,
    ) -> (Self, LiveConfig, watch::Receiver<ConfigFault>) {
        let (live, in_force) = watch::channel(Arc::clone(file.config()));
        let (fault, told) = watch::channel(None);
        (Self { file, live, fault, metrics, started }, in_force, told)
    }

    /// Works until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(self.keep_reading()).await;
    }

    async fn keep_reading(&mut self) {
        let hangup = signal(SignalKind::hangup());
        let mut hangup = hangup
            .inspect_err(|error| warn!(%error, "SIGHUP cannot be handled; the file is watched"))
            .ok();
        let mut watch = FileWatch::new(vec![self.file.path.clone()]);
        // The watch knows nothing of what was written since the file was read.
        if !ConfigFile::read(&self.file.path).is_ok_and(|now| now.written == self.file.written) {
            self.started.clone().reload(|| self.read());
        }
        loop {
            tokio::select! {
                () = watch.changed() => {}
                () = heard(&mut hangup) => info!(signal = "SIGHUP", "reading the configuration"),
            }
            self.started.clone().reload(|| self.read());
        }
    }

    fn read(&mut self) {
        let read = ConfigFile::read(&self.file.path).map_err(|fault| fault.to_string());
        match read.and_then(|new| self.check(new)) {
            Ok(new) => self.accept(new),
            Err(fault) => {
                self.metrics.count_config_load("rejected");
                error!(reason = fault, "configuration rejected; the old one stays in force");
                self.fault.send_replace(Some(fault));
            }
        }
    }

    fn check(&self, new: ConfigFile) -> Result<ConfigFile, String> {
        let mut changed = Vec::new();
        differences(&self.file.written, &new.written, "", &mut changed);
        changed.retain(|key| !is_live(key));
        if changed.is_empty() {
            return Ok(new);
        }
        Err(format!("`{}`: needs a restart of the server to change", changed.join("`, `")))
    }

    fn accept(&mut self, new: ConfigFile) {
        let mut changed = Vec::new();
        differences(&self.file.written, &new.written, "", &mut changed);
        self.live.send_replace(Arc::clone(&new.config));
        self.fault.send_replace(None);
        self.file = new;
        self.metrics.count_config_load("accepted");
        info!(changed = changed.join(", "), "configuration in force");
    }
}

/// Waits for a signal, or for ever where there is none to come.
async fn heard(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

fn is_live(key: &str) -> bool {
    LIVE_KEYS.iter().any(|live| {
        key.strip_prefix(live).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

/// Adds the keys below `key` that are written in another way. A key that is left out is like an
/// empty one.
fn differences(old: &Value, new: &Value, key: &str, found: &mut Vec<String>) {
    let is_leaf = |value: &Value| !value.is_object() && !value.is_null();
    if is_leaf(old) || is_leaf(new) {
        if old != new {
            found.push(key.to_owned());
        }
        return;
    }
    let names = |value: &Value| value.as_object().map(|keys| keys.keys().cloned().collect());
    let names: [BTreeSet<String>; 2] =
        [names(old).unwrap_or_default(), names(new).unwrap_or_default()];
    for name in names[0].union(&names[1]) {
        let below = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
        // Indexing gives null for what is not there.
        differences(&old[name], &new[name], &below, found);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::{
        CancellationToken, ConfigFile, LIVE_KEYS, Metrics, Reloader, Started, differences, is_live,
    };

    #[test]
    fn a_difference_is_named_by_its_key() {
        let old =
            json!({"listen": {"path": "/a", "allowed_uids": [1]}, "limits": {"connections": 3}});
        for (new, expected) in [
            (
                json!({"listen": {"path": "/a", "allowed_uids": [1]}, "limits": {"connections": 3}}),
                vec![],
            ),
            (
                json!({"listen": {"path": "/b", "allowed_uids": [1, 2]}}),
                vec!["limits.connections", "listen.allowed_uids", "listen.path"],
            ),
            (
                json!({"listen": {"path": "/a", "allowed_uids": [1]}, "limits": {"connections": 3}, "drain": "1s"}),
                vec!["drain"],
            ),
            (
                json!({"listen": {"path": "/a", "allowed_uids": [1], "tcp": {"address": "x", "allow": []}}, "limits": {"connections": 3}}),
                vec!["listen.tcp.address", "listen.tcp.allow"],
            ),
        ] {
            let mut found = Vec::new();
            differences(&old, &new, "", &mut found);
            assert_eq!(found, expected, "{new}");
        }
    }

    #[tokio::test]
    async fn what_is_written_while_the_server_starts_counts() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("config.yaml");
        let write = |drain: &str| {
            let source = "source: {workload_api: {socket: unix:///a}}\nlisten: {path: /s}\n";
            std::fs::write(&path, format!("{source}drain: {drain}\n")).expect("written");
        };
        write("1s");
        let file = ConfigFile::read(&path).expect("valid");
        write("2s");
        let (reloader, mut live, _) = Reloader::new(file, Metrics::default(), Started::default());
        let stop = CancellationToken::new();
        let reloading = tokio::spawn(reloader.run(stop.clone()));
        let in_force = live.wait_for(|config| config.drain.duration().as_secs() == 2);
        let in_force = tokio::time::timeout(Duration::from_secs(40), in_force).await;
        assert!(in_force.expect("in time").is_ok());
        stop.cancel();
        reloading.await.expect("no panic");
    }

    #[test]
    fn live_keys_are_those_listed_and_what_is_below() {
        for (key, live) in [
            ("drain", true),
            ("listen.tcp.allow", true),
            ("listen.tcp.address", false),
            ("limits.connections", true),
            ("limits.connections_per_peer", true),
            ("limits.streams_per_connection", true),
            ("limits.jwt_svids", false),
            ("source.workload_api.socket", false),
        ] {
            assert_eq!(is_live(key), live, "{key}");
        }
        assert!(LIVE_KEYS.is_sorted());
    }
}
