//! The caller as the HTTP rules see it.

use crate::identity::SpiffeId;
use crate::peer::{NoIdentity, OwnedPeer};
use crate::policy::Policy;

/// Who calls: a SPIFFE ID, and where it has been here before the patterns of the policy that hold it.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    id: SpiffeId<'a>,
    patterns: Option<&'a [u32]>,
}

impl<'a> Caller<'a> {
    /// The SPIFFE ID.
    pub const fn id(self) -> SpiffeId<'a> {
        self.id
    }

    /// The numbers of all patterns of callers that hold the ID, the heaviest first, where they are known.
    pub(crate) const fn patterns(self) -> Option<&'a [u32]> {
        self.patterns
    }
}

impl<'a> From<SpiffeId<'a>> for Caller<'a> {
    fn from(id: SpiffeId<'a>) -> Self {
        Self { id, patterns: None }
    }
}

/// What a connection's filter state says of its peer to one policy, kept for the next request: only its end depends on
/// the time.
#[derive(Clone, Debug)]
pub struct KnownPeer(Result<Known, NoIdentity>);

#[derive(Clone, Debug)]
struct Known {
    peer: OwnedPeer,
    patterns: Vec<u32>,
}

impl KnownPeer {
    /// Reads the filter state as [`OwnedPeer::from_filter_state`] does, and looks the ID up among the HTTP rules of `policy`.
    /// With any other policy this says nothing.
    pub fn new(state: &[u8], policy: &Policy) -> Self {
        Self(OwnedPeer::from_filter_state(state).map(|peer| {
            let patterns = policy.patterns_of(peer.peer().id);
            Known { peer, patterns }
        }))
    }

    /// The caller, as [`Peer::check_expiry`](crate::Peer::check_expiry) says.
    ///
    /// # Errors
    /// Says why there is none.
    pub fn caller(&self, now: u64, grace: u64) -> Result<Caller<'_>, NoIdentity> {
        let Known { peer, patterns } = self.0.as_ref().map_err(|no_identity| *no_identity)?;
        let id = peer.peer().check_expiry(now, grace)?;
        Ok(Caller { id, patterns: Some(patterns) })
    }
}

#[cfg(test)]
mod tests {
    use super::KnownPeer;
    use crate::{NoIdentity, Policy};

    #[test]
    fn a_known_peer_is_what_its_state_says() {
        let policy = Policy::deny_all();
        let known = |state: &str| KnownPeer::new(state.as_bytes(), &policy);
        let caller = known("1000|spiffe://a/b");
        let id = caller.caller(1060, 60).unwrap().id();
        assert_eq!((id.as_str(), id.trust_domain(), id.path()), ("spiffe://a/b", "a", "b"));
        assert_eq!(caller.caller(1061, 60).err(), Some(NoIdentity::Expired));
        assert_eq!(known("-|-").caller(0, 0).err(), Some(NoIdentity::NoCertificate));
    }
}
