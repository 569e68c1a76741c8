//! Reading a configuration, and what only the whole of it can show to be wrong.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::{Config, Limits, Listen, NamePattern};

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is not a configuration.
    #[error("configuration {}: {fault}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The fault with its line.
        fault: String,
    },
}

impl Config {
    /// Checks a configuration's text. The error is meant for people and ends without a line break.
    pub fn parse(text: &str) -> Result<Self, String> {
        let config: Self =
            serde_saphyr::from_str(text).map_err(|e| e.to_string().trim_end().to_owned())?;
        config.check_combination()?;
        Ok(config)
    }

    /// Each process has its own: nothing may be meant for all.
    fn check_per_process(&self) -> Result<(), String> {
        let fault = if self.default_svid.spiffe_id.is_some() {
            "default_svid.spiffe_id: accepted is `default_svid.hint`"
        } else if self.listen.tcp.is_some() {
            "listen.tcp: accepted is `listen.path`, to which processes of this node connect"
        } else {
            return Ok(());
        };
        Err(format!(
            "{fault}: with `source.broker` and `source.delegated` each process has its own \
             identities"
        ))
    }

    fn check_combination(&self) -> Result<(), String> {
        let filters = self.filters.by_kind().next().is_some();
        let fault = match (&self.policy, filters) {
            (Some(_), false) => "policy: no filter enforces it; name one under `filters`",
            (None, true) => "filters: they have no policy; name its file under `policy.file`",
            _ => "",
        };
        if !fault.is_empty() {
            return Err(fault.into());
        }
        if self.source.is_per_process() {
            self.check_per_process()?;
        }
        match &self.listen {
            Listen { path: None, tcp: None, .. } => {
                return Err(
                    "listen: accepted are a `path`, a `tcp` with its address, or both".into()
                );
            }
            Listen { path: Some(path), .. } if !path.is_absolute() => {
                let path = path.display();
                return Err(format!("listen.path `{path}`: a socket needs an absolute path"));
            }
            _ => {}
        }
        if self.on_demand.iter().any(NamePattern::is_everything) {
            return Err(
                "on_demand: `*` stands for the listeners' own secrets too, which would start without them; \
                 accepted are names, and ends of names"
                    .into(),
            );
        }
        self.limits.check()?;
        let names = [&self.names.default_svid, &self.names.default_bundle, &self.names.all_bundles];
        for (position, name) in names.iter().enumerate() {
            if name.is_empty()
                || name.contains("://")
                || name.contains('?')
                || names[..position].contains(name)
            {
                return Err(format!(
                    "names: `{name}`: accepted are three different names, no SPIFFE IDs and without `?`"
                ));
            }
        }
        crate::xds::ResourceRules::of(self).map(drop)
    }
}

impl Limits {
    /// Beyond these a peer would be asked all the time, or never; and nobody could read in time, or might never.
    const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(1);

    /// With fewer no request of gRPC is read; with more a peer would have us keep them.
    const HEADER_BYTES: RangeInclusive<u32> = 1 << 10..=1 << 20;
    /// No connection has a smaller window (RFC 9113 §6.9.2), nor room for more.
    const WINDOW_BYTES: RangeInclusive<u32> = 64 << 10..=1 << 30;

    fn check(&self) -> Result<(), String> {
        let numbers = [
            ("connections_per_peer", self.connections_per_peer == 0),
            ("connections", self.connections == 0),
            ("opens_per_second", self.opens_per_second == 0),
            ("opens_burst", self.opens_burst == 0),
            ("streams_per_connection", self.streams_per_connection == 0),
            ("pending_resets", self.pending_resets == 0),
            ("own_resets", self.own_resets == 0),
            ("names_per_request", self.names_per_request == 0),
            ("message_bytes", self.message_bytes == 0),
        ];
        if let Some((key, _)) = numbers.iter().find(|(_, is_zero)| *is_zero) {
            return Err(format!("limits.{key} `0`: nobody would be served; accepted is 1 or more"));
        }
        let sizes = [
            ("header_bytes", self.header_bytes, Self::HEADER_BYTES),
            ("window_bytes", self.window_bytes, Self::WINDOW_BYTES),
        ];
        for (key, found, accepted) in sizes {
            if !accepted.contains(&found) {
                let (least, most) = accepted.into_inner();
                return Err(format!("limits.{key} `{found}`: accepted are {least} to {most}"));
            }
        }
        let intervals = [
            ("slow_reader", self.slow_reader),
            ("keepalive", self.keepalive),
            ("keepalive_timeout", self.keepalive_timeout),
        ];
        for (key, interval) in intervals {
            if !Self::INTERVAL.contains(&interval.duration()) {
                let found = String::from(interval);
                return Err(format!("limits.{key} `{found}`: accepted are 100ms to 1h"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Config;

    const SMALLEST: &str =
        "source: {workload_api: {socket: unix:///agent.sock}}\nlisten: {path: /sds.sock}\n";

    #[test]
    fn the_smallest_configuration_has_every_default() {
        let config = Config::parse(SMALLEST).expect("valid");
        assert_eq!(config.names.default_bundle, "ROOTCA");
        assert_eq!(config.listen.mode.bits(), 0o660);
        assert!(!config.process.dumpable && config.admin.is_none() && config.policy.is_none());
    }

    #[test]
    fn a_fault_names_the_thing_what_was_found_and_what_is_accepted() {
        for (addition, expected) in [
            ("polcy: {file: /p}", &["unknown field `polcy`", "policy", "line 3"][..]),
            ("drain: soon", &["`soon`", "5s"]),
            ("admin: {listen: everywhere}", &["`everywhere`", "127.0.0.1:9902", "unix:///"]),
            ("policy: {file: /p}", &["policy: no filter", "`filters`"]),
            ("filters: {http: {wasm: /w, sha256: abc}}", &["`abc`", "64"]),
            ("on_demand: ['*']", &["on_demand: `*`", "ends of names"]),
            ("on_demand: ['a*b']", &["`a*b`", "`*` in place"]),
            ("names: {default_bundle: ALL}", &["`ALL`"]),
            ("validation: {ROOTCA: []}", &["`ROOTCA` accepts nobody"]),
            (
                "validation: {ROOTCA.x509: [{exact: 's://a'}]}",
                &["`ROOTCA.x509`", "without .spiffe"],
            ),
            ("validation: {default: [{exact: 's://a'}]}", &["`default`", "name of a bundle"]),
            (
                "validation: {'bundle?td=a.org': [{exact: 's://a'}], 'spiffe://a.org': [{exact: 's://a'}]}",
                &["another name"],
            ),
            ("names: {default_svid: 'jwt?aud=a'}", &["`jwt?aud=a`", "without `?`"]),
            ("default_svid: {spiffe_id: /ns/x}", &["`/ns/x`", "spiffe://"]),
            ("limits: {opens_burst: 0}", &["limits.opens_burst `0`", "1 or more"]),
            ("limits: {pending_resets: 0}", &["limits.pending_resets `0`", "1 or more"]),
            ("limits: {own_resets: 0}", &["limits.own_resets `0`", "1 or more"]),
            ("limits: {streams_per_connection: 0}", &["limits.streams_per_connection `0`"]),
            ("limits: {header_bytes: 0}", &["limits.header_bytes `0`", "1024 to 1048576"]),
            (
                "limits: {window_bytes: 65535}",
                &["limits.window_bytes `65535`", "65536 to 1073741824"],
            ),
            ("limits: {slow_reader: 0s}", &["limits.slow_reader `0s`", "100ms to 1h"]),
            ("limits: {keepalive: 0s}", &["limits.keepalive `0s`", "100ms to 1h"]),
            ("limits: {keepalive_timeout: 2h}", &["limits.keepalive_timeout `2h`", "100ms to 1h"]),
            ("limits: {connection: 3}", &["unknown field `connection`", "connections_per_peer"]),
        ] {
            let fault = Config::parse(&format!("{SMALLEST}{addition}\n")).expect_err(addition);
            for part in expected {
                assert!(fault.contains(part), "{addition}: `{part}` is missing in: {fault}");
            }
        }
    }

    #[test]
    fn each_source_names_its_sockets() {
        for (source, expected) in [
            ("broker: {socket: unix:///b, workload_api: unix:///w}", &[][..]),
            ("delegated: {admin_socket: unix:///a}", &[]),
            ("broker: {socket: unix:///b}", &["workload_api"]),
            ("broker: {socket: b, workload_api: unix:///w}", &["`b`", "unix:///absolute"]),
            ("delegated: {socket: unix:///a}", &["`socket`", "admin_socket"]),
            ("broker: {socket: unix:///b, workload_api: unix:///w, agent_id: x}", &["`x`"]),
        ] {
            let parsed = Config::parse(&format!("source: {{{source}}}\nlisten: {{path: /s}}\n"));
            assert_eq!(parsed.is_ok(), expected.is_empty(), "{source}");
            let fault = parsed.err().unwrap_or_default();
            assert!(expected.iter().all(|part| fault.contains(part)), "{source}: {fault}");
        }
        let one_for_all = "source: {delegated: {admin_socket: unix:///a}}\nlisten: {path: /s}\n\
                           default_svid: {spiffe_id: spiffe://example.org/a}\n";
        let fault = Config::parse(one_for_all).expect_err("one identity for all");
        assert!(fault.contains("default_svid.hint"), "{fault}");
    }

    #[test]
    fn a_source_other_than_those_known_is_refused_by_name() {
        let fault =
            Config::parse("source: {agent: {}}\nlisten: {path: /s}\n").expect_err("unknown source");
        assert!(fault.contains("agent") && fault.contains("workload_api"), "{fault}");
    }
}
