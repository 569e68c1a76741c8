//! Peers that have been here before. Nearly every request comes from one of few, and to check and look up its SPIFFE ID
//! costs more than all the rest of a decision.

use std::cell::RefCell;
use std::rc::Rc;

use signet_policy::{KnownPeer, Policy};

/// How many are remembered at most; a power of two.
const PLACES: usize = 64;
/// The longest filter state that is remembered, in bytes.
const LONGEST: usize = 512;

/// What was read last in each place. Peers that share one take it from each other.
#[derive(Debug, Default)]
pub(crate) struct Peers(RefCell<Vec<Option<Remembered>>>);

#[derive(Clone, Debug)]
struct Remembered {
    state: Vec<u8>,
    peer: Rc<KnownPeer>,
}

impl Peers {
    /// What a connection's filter state means to `policy`, which must always be the same.
    pub(crate) fn of(&self, state: &[u8], policy: &Policy) -> Rc<KnownPeer> {
        let place = place(state);
        if let Some(Some(known)) = self.0.borrow().get(place)
            && is_same(&known.state, state)
        {
            return Rc::clone(&known.peer);
        }
        let peer = Rc::new(KnownPeer::new(state, policy));
        if state.len() <= LONGEST {
            let mut places = self.0.borrow_mut();
            places.resize(PLACES, None);
            if let Some(place) = places.get_mut(place) {
                *place = Some(Remembered { state: state.to_vec(), peer: Rc::clone(&peer) });
            }
        }
        peer
    }
}

/// A hash, of eight octets at a time, then of the last eight.
fn place(state: &[u8]) -> usize {
    let mut hash = 0_u64;
    let mut add = |octets: &[u8; 8]| {
        hash =
            (hash.rotate_left(5) ^ u64::from_le_bytes(*octets)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    };
    state.as_chunks().0.iter().for_each(&mut add);
    state.last_chunk().into_iter().for_each(&mut add);
    usize::from(hash.to_be_bytes()[0]) % PLACES
}

/// Whether two texts are the same: eight octets at a time, as `==` is one at a time here.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    if a.len() != b.len() || a_rest != b_rest {
        return false;
    }
    for (a, b) in a.iter().zip(b) {
        if u64::from_ne_bytes(*a) != u64::from_ne_bytes(*b) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_means_what_it_says_however_many_there_are() {
        let (peers, policy) = (Peers::default(), Policy::deny_all());
        let id = |n: usize| format!("spiffe://example.org/{}", "x".repeat(n));
        for _ in 0..2 {
            for n in (1..600).chain((1..600).rev()) {
                let state = format!("{n}|{}", id(n));
                let peer = peers.of(state.as_bytes(), &policy);
                let caller = peer.caller(0, 0).map(|caller| caller.id().as_str().to_owned());
                assert_eq!(caller, Ok(id(n)));
                let again = peers.of(state.as_bytes(), &policy);
                assert_eq!(Rc::ptr_eq(&peer, &again), state.len() <= LONGEST);
            }
        }
        assert_eq!(peers.0.borrow().len(), PLACES);
    }

    #[test]
    fn sameness() {
        let text = b"0123456789abcdefgh";
        for length in 0..text.len() {
            assert!(is_same(&text[..length], &text[..length]));
            assert!(!is_same(&text[..length], &text[..=length]));
            for at in 0..length {
                let mut other = text[..length].to_vec();
                other[at] ^= 1;
                assert!(!is_same(&text[..length], &other), "{length} {at}");
            }
        }
    }
}
