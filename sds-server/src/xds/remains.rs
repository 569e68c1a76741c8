//! What is left in memory of a key that nobody holds any more: nothing of ours.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use spiffe::X509Svid;

use super::secrets::certificate;
use crate::sources::Svid;
use crate::sources::test_context::Authority;

/// A text to search for, written so that the search does not find itself.
struct Hidden(Vec<u8>);

impl Hidden {
    fn of(text: &[u8]) -> Self {
        Self(text.iter().map(|byte| !byte).collect())
    }

    fn is_at(&self, memory: &[u8]) -> bool {
        self.0.iter().zip(memory).all(|(hidden, found)| !hidden == *found)
    }
}

/// How often a text stands in the writable memory of this process, used or freed.
fn found(text: &Hidden) -> usize {
    const PIECE: usize = 1 << 16;
    let memory = File::open("/proc/self/mem").expect("our own");
    let mut piece = vec![0; PIECE + text.0.len()];
    let own = piece.as_ptr().addr()..piece.as_ptr().addr() + piece.len();
    let maps = fs::read_to_string("/proc/self/maps").expect("our own");
    let mut count = 0;
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (start, end) = line.split(' ').next().and_then(|r| r.split_once('-')).expect("a range");
        let [start, end] = [start, end].map(|at| usize::from_str_radix(at, 16).expect("hex"));
        for at in (start..end).step_by(PIECE) {
            // A stack's guard, or what another thread has freed since.
            let Ok(read) = memory.read_at(&mut piece[..], at as u64) else { continue };
            let places = read.min(PIECE).min(end - at);
            let is_text = |place: &usize| {
                !own.contains(&(at + place))
                    && piece[*place..read].len() >= text.0.len()
                    && text.is_at(&piece[*place..])
            };
            count += (0..places).filter(is_text).count();
        }
        piece.fill(0);
    }
    count
}

#[test]
fn of_a_secret_that_is_dropped_no_key_remains() {
    let (chain, key) = Authority::new("example.org").pair("/a", Duration::from_mins(1));
    let document = X509Svid::parse_from_der(&chain, &key).expect("an SVID");
    let svid = Svid::check(Arc::new(document)).expect("it fits");
    let resource = certificate(&svid, "default".into()).expect("a secret");
    let begin = b"-----BEGIN PRIVATE KEY-----\n";
    let encoded = resource.encoded.clone();
    let at = encoded.windows(begin.len()).position(|part| part == begin).expect("a PEM");
    // The second line has the secret number; nothing but the making of a secret writes it so.
    let line = at + begin.len() + 65;
    let pem = Hidden::of(&encoded[line..line + 64]);
    let sent = encoded.slice(line..line + 64);
    drop((encoded, resource));
    assert_eq!(found(&pem), 1, "what is being sent is there, and no other copy");
    drop(sent);
    assert_eq!(found(&pem), 0);
}

/// The library that reads what agents send keeps the key; who drops it last overwrites it.
#[test]
fn of_an_svid_that_is_dropped_no_key_remains() {
    let (chain, key) = Authority::new("example.org").pair("/a", Duration::from_mins(1));
    let document = Arc::new(X509Svid::parse_from_der(&chain, &key).expect("an SVID"));
    let svid = Svid::check(Arc::clone(&document)).expect("it fits");
    // PKCS#8 of a P-256 key: the secret number is 32 bytes from 36 on.
    let secret = &svid.key()[36..68];
    let (at, wanted) = (secret.as_ptr().addr() as u64, secret.to_vec());
    let read = || {
        let mut bytes = [0; 32];
        // Where nothing is mapped any more there is nothing to be read.
        let read = File::open("/proc/self/mem").and_then(|memory| memory.read_at(&mut bytes, at));
        read.map_or_else(|_| Vec::new(), |_| bytes.to_vec())
    };
    drop(svid);
    assert_eq!(read(), wanted, "the document holds it");
    drop(document);
    assert_ne!(read(), wanted);
}
