//! Who is at the other end of a connection, from what Envoy's TLS saw.

use std::fmt;

use crate::identity::SpiffeId;

/// What Envoy's formatters print for a value that isn't there.
const ABSENT: &str = "-";

/// The caller: the SPIFFE ID of its certificate, and when that certificate expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer<'a> {
    /// The one URI SAN of the caller's certificate.
    pub id: SpiffeId<'a>,
    /// The certificate's `notAfter`, in seconds since the Unix epoch.
    pub expires_at: u64,
}

impl<'a> Peer<'a> {
    /// Reads the connection's filter state `signet.peer`, which the listener writes as
    /// `%DOWNSTREAM_PEER_CERT_V_END(%s)%|%DOWNSTREAM_PEER_URI_SAN%`: the expiry in seconds since
    /// the Unix epoch, then all URI SANs joined by commas.
    ///
    /// An X.509-SVID has exactly one URI SAN (X.509-SVID §2). Envoy's SPIFFE validator accepts
    /// more, so a second one is refused here.
    ///
    /// # Errors
    /// Says why the connection has no identity. No filter state at all is an empty slice.
    pub fn from_filter_state(state: &'a [u8]) -> Result<Self, NoIdentity> {
        let state = std::str::from_utf8(state).map_err(|_| NoIdentity::Malformed)?;
        // By bytes: it is done for each request, and searches by `char` cost several times as much.
        let bar = state.bytes().position(|b| b == b'|');
        let (expiry, uri_sans) = state.split_at_checked(bar.unwrap_or(0)).unwrap_or_default();
        match expiry {
            "" if bar.is_none() && !state.is_empty() => return Err(NoIdentity::Malformed),
            "" | ABSENT => return Err(NoIdentity::NoCertificate),
            _ => {}
        }
        let digits = expiry.bytes().all(|b| b.is_ascii_digit()).then_some(expiry);
        let expires_at = digits.and_then(|digits| digits.parse().ok());
        let expires_at = expires_at.ok_or(NoIdentity::Malformed)?;
        let uri_sans = uri_sans.get(1..).unwrap_or_default();
        // Neither `|` nor `,` is part of any SPIFFE ID, so one look at a good one is enough.
        let id = SpiffeId::parse(uri_sans).map_err(|_| match uri_sans {
            sans if sans.contains('|') => NoIdentity::Malformed,
            "" | ABSENT => NoIdentity::NoUriSan,
            sans if sans.contains(',') => NoIdentity::SeveralUriSans,
            _ => NoIdentity::InvalidSpiffeId,
        })?;
        Ok(Self { id, expires_at })
    }

    /// The identity, unless the certificate expired more than `grace` seconds before `now`
    /// (seconds since the Unix epoch). A connection may stay open past its certificate's end.
    ///
    /// # Errors
    /// [`NoIdentity::Expired`].
    pub const fn check_expiry(self, now: u64, grace: u64) -> Result<SpiffeId<'a>, NoIdentity> {
        if now > self.expires_at.saturating_add(grace) {
            return Err(NoIdentity::Expired);
        }
        Ok(self.id)
    }
}

/// A peer in a copy of its text, for as long as its connection lasts: to read filter state costs more than what is done
/// with it.
#[derive(Clone, Debug)]
pub struct OwnedPeer {
    /// Its text is that of `id`.
    peer: Peer<'static>,
    id: String,
}

impl OwnedPeer {
    /// Reads the filter state as [`Peer::from_filter_state`] does.
    ///
    /// # Errors
    /// Says why there is no identity.
    pub fn from_filter_state(state: &[u8]) -> Result<Self, NoIdentity> {
        let Peer { id, expires_at } = Peer::from_filter_state(state)?;
        Ok(Self { peer: Peer { id: id.in_copy(""), expires_at }, id: id.as_str().to_owned() })
    }

    /// The peer as it was read.
    pub fn peer(&self) -> Peer<'_> {
        Peer { id: self.peer.id.in_copy(&self.id), expires_at: self.peer.expires_at }
    }
}

/// Why a connection has no identity. It is denied, and counted apart from other denials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoIdentity {
    /// The peer presented no certificate, or the connection isn't TLS.
    NoCertificate,
    /// The certificate has no URI SAN.
    NoUriSan,
    /// The certificate has more than one URI SAN.
    SeveralUriSans,
    /// The URI SAN isn't a workload's SPIFFE ID.
    InvalidSpiffeId,
    /// The certificate expired longer ago than the grace allows.
    Expired,
    /// The filter state isn't what the listener should write: a fault of the configuration.
    Malformed,
}

impl NoIdentity {
    /// A short constant name for logs and metrics.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::NoUriSan => "no_uri_san",
            Self::SeveralUriSans => "several_uri_sans",
            Self::InvalidSpiffeId => "invalid_spiffe_id",
            Self::Expired => "certificate_expired",
            Self::Malformed => "malformed_peer_state",
        }
    }
}

impl fmt::Display for NoIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCertificate => "the peer presented no certificate",
            Self::NoUriSan => "the peer's certificate has no URI SAN",
            Self::SeveralUriSans => "the peer's certificate has more than one URI SAN",
            Self::InvalidSpiffeId => "the URI SAN of the peer's certificate is no SPIFFE ID",
            Self::Expired => "the peer's certificate has expired",
            Self::Malformed => "the listener's filter state `signet.peer` is malformed",
        })
    }
}

impl std::error::Error for NoIdentity {}

#[cfg(test)]
mod tests {
    use super::{NoIdentity, Peer};

    #[test]
    fn filter_state() {
        let peer = Peer::from_filter_state(b"1700000000|spiffe://example.org/api").unwrap();
        assert_eq!(peer.id.as_str(), "spiffe://example.org/api");
        assert_eq!(peer.expires_at, 1_700_000_000);
        for (state, reason) in [
            (&b""[..], NoIdentity::NoCertificate),
            (b"-|-", NoIdentity::NoCertificate),
            (b"|spiffe://a/b", NoIdentity::NoCertificate),
            (b"-|spiffe://a/b", NoIdentity::NoCertificate),
            (b"1", NoIdentity::Malformed),
            (b"spiffe://a/b", NoIdentity::Malformed),
            (b"x|spiffe://a/b", NoIdentity::Malformed),
            (b"+1|spiffe://a/b", NoIdentity::Malformed),
            (b"-1|spiffe://a/b", NoIdentity::Malformed),
            (b"99999999999999999999|spiffe://a/b", NoIdentity::Malformed),
            (b"1|spiffe://a/b|", NoIdentity::Malformed),
            (b"1|spiffe://a/b|spiffe://a/c", NoIdentity::Malformed),
            (b"1|spiffe://a/\xff", NoIdentity::Malformed),
            (b"1|", NoIdentity::NoUriSan),
            (b"1|-", NoIdentity::NoUriSan),
            (b"1|spiffe://a/b,spiffe://a/c", NoIdentity::SeveralUriSans),
            (b"1|spiffe://a/b,", NoIdentity::SeveralUriSans),
            (b"1|https://a/b", NoIdentity::InvalidSpiffeId),
            (b"1|spiffe://a", NoIdentity::InvalidSpiffeId),
        ] {
            let shown = String::from_utf8_lossy(state);
            assert_eq!(Peer::from_filter_state(state), Err(reason), "{shown}");
        }
    }

    #[test]
    fn expiry() {
        let peer = Peer::from_filter_state(b"1000|spiffe://a/b").unwrap();
        assert_eq!(peer.check_expiry(1060, 60), Ok(peer.id));
        assert_eq!(peer.check_expiry(1061, 60), Err(NoIdentity::Expired));
        assert_eq!(peer.check_expiry(1001, 0), Err(NoIdentity::Expired));
        assert_eq!(peer.check_expiry(u64::MAX, u64::MAX), Ok(peer.id));
    }
}
