//! One resource in the form in which every stream sends it.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use super::wire::Any;
use crate::policy::WITHDRAWN;

/// The kinds of resource that are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// A certificate with its key, or a validation context.
    Secret,
    /// A filter's configuration.
    Extension,
}

impl Kind {
    /// All kinds.
    pub(crate) const ALL: [Self; 2] = [Self::Secret, Self::Extension];

    /// The name on the wire.
    pub(crate) const fn type_url(self) -> &'static str {
        match self {
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::Extension => "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        }
    }

    /// The name in logs and metrics.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Extension => "extension",
        }
    }

    pub(crate) fn from_type_url(type_url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_url() == type_url)
    }
}

/// What a resource holds, in the order of sending: trust before leaves, so that no peer's leaf
/// arrives first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Content {
    Bundle,
    Certificate,
    Token,
    Filter,
}

/// The hash of a resource's bytes: the same in every process, after a restart too.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Version([u8; 16]);

impl Version {
    /// Hashes `parts`; each is delimited, so that no two lists of parts are alike.
    pub(crate) fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut version = [0; 16];
        version.copy_from_slice(&hash.finalize()[..16]);
        Self(version)
    }

    /// The version that a peer says it has; `None` where it is none of ours.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut version = [0; 16];
        hex::decode_to_slice(text, &mut version).ok().map(|()| Self(version))
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// A resource, encoded once. The bytes may hold a private key: they are zeroized when the last
/// stream lets go of them, and Debug does not show them.
pub(crate) struct Resource {
    pub(crate) kind: Kind,
    pub(crate) content: Content,
    pub(crate) name: String,
    pub(crate) version: Version,
    /// From when on it must not be sent any more.
    pub(crate) expires: Option<SystemTime>,
    /// The digest of the policy that an extension is of, or [`WITHDRAWN`].
    pub(crate) policy: Option<Arc<str>>,
    /// An encoded `Any`.
    pub(crate) encoded: Bytes,
}

impl Resource {
    /// Encodes `message` as a resource of `kind`.
    pub(crate) fn encode(
        kind: Kind,
        content: Content,
        name: String,
        message: &impl Message,
    ) -> Self {
        let value = zeroized(Zeroizing::new(message.encode_to_vec()));
        let any = Any { type_url: kind.type_url().to_owned(), value };
        let encoded = zeroized(Zeroizing::new(any.encode_to_vec()));
        let version = Version::of([encoded.as_ref()]);
        Self { kind, content, name, version, expires: None, policy: None, encoded }
    }

    /// The same, never to be sent from `expires` on. Catalogues follow expiry too, but a little
    /// later.
    pub(crate) fn until(self, expires: SystemTime) -> Self {
        Self { expires: Some(expires), ..self }
    }

    /// The same, with the digest of the policy that it is of. Not part of the version: several
    /// policies may say the same to one filter.
    pub(crate) fn of_policy(self, digest: Arc<str>) -> Self {
        Self { policy: Some(digest), ..self }
    }

    /// Whether it is an extension that denies everything because its workload is withdrawn.
    pub(crate) fn denies_all(&self) -> bool {
        self.policy.as_deref() == Some(WITHDRAWN)
    }

    /// Whether it may be sent at `now`.
    pub(crate) fn is_valid(&self, now: SystemTime) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

/// Shared bytes that are overwritten when the last holder drops them.
fn zeroized<T: AsRef<[u8]> + Zeroize + Send + 'static>(bytes: Zeroizing<T>) -> Bytes {
    struct Owner<T: Zeroize>(Zeroizing<T>);
    impl<T: AsRef<[u8]> + Zeroize> AsRef<[u8]> for Owner<T> {
        fn as_ref(&self) -> &[u8] {
            (*self.0).as_ref()
        }
    }
    Bytes::from_owner(Owner(bytes))
}

impl fmt::Debug for Resource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} `{}` version {}", self.kind.label(), self.name, self.version)
    }
}
