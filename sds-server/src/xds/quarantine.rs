//! What each Envoy refused.
//!
//! Envoy 1.40 stores the bytes that it NACKs, ACKs them when they come a second time while the old
//! certificate goes on serving, and then reports their version as its own. So refused bytes are
//! remembered across reconnects: they are not sent again, and that version is not believed.

use std::collections::HashMap;

use tokio::time::Instant;

use super::peer::Account;
use super::resource::{Kind, Version};

/// One Envoy, as far as it can be told from others of the same account.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct EnvoyId {
    pub(crate) account: Account,
    pub(crate) node: String,
}

/// The refusals that are remembered; the oldest are forgotten when there are too many.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    refusals: HashMap<(EnvoyId, Kind, String), Refused>,
}

#[derive(Debug)]
struct Refused {
    version: Version,
    at: Instant,
}

impl Quarantine {
    const CAPACITY: usize = 4096;

    /// Remembers that `envoy` refused these bytes.
    pub(crate) fn record(
        &mut self,
        envoy: &EnvoyId,
        kind: Kind,
        name: &str,
        version: &Version,
        now: Instant,
    ) {
        if self.refusals.len() >= Self::CAPACITY
            && let Some(oldest) = self
                .refusals
                .iter()
                .min_by_key(|(_, refused)| refused.at)
                .map(|(key, _)| key.clone())
        {
            self.refusals.remove(&oldest);
        }
        self.refusals.insert(
            (envoy.clone(), kind, name.to_owned()),
            Refused { version: version.clone(), at: now },
        );
    }

    /// Whether `envoy` refused these bytes and has accepted no others since.
    pub(crate) fn holds(&self, envoy: &EnvoyId, kind: Kind, name: &str, version: &Version) -> bool {
        self.refusals
            .get(&(envoy.clone(), kind, name.to_owned()))
            .is_some_and(|refused| refused.version == *version)
    }

    /// Takes in an ACK. Returns whether it can be believed: not where these very bytes were refused
    /// before.
    pub(crate) fn accept(
        &mut self,
        envoy: &EnvoyId,
        kind: Kind,
        name: &str,
        version: &Version,
    ) -> bool {
        let believed = !self.holds(envoy, kind, name, version);
        if believed {
            self.refusals.remove(&(envoy.clone(), kind, name.to_owned()));
        }
        believed
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::{EnvoyId, Quarantine};
    use crate::xds::peer::Account;
    use crate::xds::resource::{Kind, Version};

    #[test]
    fn refused_bytes_are_not_believed_until_others_are_accepted() {
        let envoy = EnvoyId { account: Account::User(7), node: "sidecar".into() };
        let (bad, good) = (Version::of([b"bad".as_slice()]), Version::of([b"good".as_slice()]));
        let mut quarantine = Quarantine::default();
        quarantine.record(&envoy, Kind::Secret, "default", &bad, Instant::now());
        assert!(!quarantine.accept(&envoy, Kind::Secret, "default", &bad));
        assert!(quarantine.holds(&envoy, Kind::Secret, "default", &bad));
        assert!(!quarantine.holds(&envoy, Kind::Secret, "other", &bad));
        assert!(quarantine.accept(&envoy, Kind::Secret, "default", &good));
        assert!(!quarantine.holds(&envoy, Kind::Secret, "default", &bad));
    }

    #[test]
    fn it_does_not_grow_without_bounds() {
        let mut quarantine = Quarantine::default();
        let version = Version::of([b"bad".as_slice()]);
        for node in 0..=Quarantine::CAPACITY {
            let envoy = EnvoyId { account: Account::User(7), node: node.to_string() };
            quarantine.record(&envoy, Kind::Secret, "default", &version, Instant::now());
        }
        assert_eq!(quarantine.refusals.len(), Quarantine::CAPACITY);
    }
}
