//! Make before break: a leaf is served only when every peer can have learned of the authority that
//! issued it.
//!
//! Our own Envoy's ACK says nothing about its peers behind other servers, so time does the work.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use rustls_pki_types::{CertificateDer, UnixTime};
use sha2::{Digest, Sha256};
use spiffe::{TrustDomain, X509Bundle};
use tokio::time::Instant;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::{Moment, Svid};

/// An authority's certificate, by its SHA-256.
pub(super) type AuthorityId = [u8; 32];

/// Since when each authority of the bundles has been known.
#[derive(Debug, Default)]
pub(super) struct Authorities {
    /// `None`: since before we began to look.
    first_seen: Option<BTreeMap<AuthorityId, Option<Instant>>>,
}

impl Authorities {
    /// Takes in the bundles of an update. Those of the very first update count as known for long.
    pub(super) fn observe<'a>(
        &mut self,
        bundles: impl Iterator<Item = (&'a TrustDomain, &'a std::sync::Arc<X509Bundle>)>,
        now: Instant,
    ) {
        let before = self.first_seen.take();
        let seen = bundles
            .flat_map(|(_, bundle)| bundle.authorities())
            .map(|authority| {
                let id = authority_id(authority.as_bytes());
                let since =
                    before.as_ref().and_then(|known| known.get(&id).copied().unwrap_or(Some(now)));
                (id, since)
            })
            .collect();
        self.first_seen = Some(seen);
    }

    /// Whether the authority is still in a bundle.
    pub(super) fn trusts(&self, authority: AuthorityId) -> bool {
        self.first_seen.as_ref().is_some_and(|seen| seen.contains_key(&authority))
    }

    /// Until when a renewed leaf of `authority` is held back: `hold` after the authority was first
    /// seen, but at most half of the old leaf's `remaining` life from `now`. `None`: not at all.
    pub(super) fn hold_until(
        &self,
        authority: AuthorityId,
        hold: Duration,
        remaining: Duration,
        now: Instant,
    ) -> Option<Instant> {
        let since = self.first_seen.as_ref()?.get(&authority).copied().flatten()?;
        Some((since + hold).min(now + remaining / 2)).filter(|until| *until > now)
    }
}

/// The authority in `bundle` to which the SVID's chain leads. `None` when the chain leads to none
/// of them, or is signed with an algorithm that webpki does not know; Envoy's own validation
/// decides then.
pub(super) fn issuer(svid: &Svid, bundle: &X509Bundle, now: Moment) -> Option<AuthorityId> {
    let chain: Vec<CertificateDer<'_>> = svid.chain().map(CertificateDer::from).collect();
    let (leaf, intermediates) = chain.split_first()?;
    let leaf = EndEntityCert::try_from(leaf).ok()?;
    let at = now.wall.max(svid.not_before()).duration_since(SystemTime::UNIX_EPOCH).ok()?;
    bundle.authorities().iter().map(spiffe::cert::Certificate::as_bytes).find_map(|authority| {
        let certificate = CertificateDer::from(authority);
        let anchor = anchor_from_trusted_cert(&certificate).ok()?;
        leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &[anchor],
            intermediates,
            UnixTime::since_unix_epoch(at),
            KeyUsage::client_auth(),
            None,
            None,
        )
        .is_ok()
        .then(|| authority_id(authority))
    })
}

fn authority_id(certificate: &[u8]) -> AuthorityId {
    Sha256::digest(certificate).into()
}
