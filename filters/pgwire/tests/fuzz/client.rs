//! A running client's messages, and what is put behind them when the session ends.

use std::convert::Infallible;

use pgwire::{ClientFrames, FINISH};

use crate::{chance::Chance, each};

/// Where a stream stands, read from its beginning.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Boundary,
    /// Amid a message, which begins there.
    Amid(usize),
    /// Behind a length that cannot be.
    Lost,
}

fn reference(bytes: &[u8]) -> Standing {
    let mut at = 0;
    while at < bytes.len() {
        let Some(length) = bytes.get(at + 1..at + 5) else { return Standing::Amid(at) };
        let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
        if length < 4 {
            return Standing::Lost;
        }
        if at + 1 + length > bytes.len() {
            return Standing::Amid(at);
        }
        at += 1 + length;
    }
    Standing::Boundary
}

fn stream(chance: &mut Chance) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=chance.below(6) {
        let kind = chance.one_of(b"QPBDESCHFdcfX");
        let mut body = chance.octets(b"\0\x03\x04aQE", 12);
        if chance.below(8) == 0 {
            body.resize(chance.below(5_000), b'x');
        }
        bytes.extend(chance.message(kind, &body));
    }
    chance.mutate(&mut bytes);
    let end = bytes.len() - chance.below(bytes.len().min(30) + 1);
    bytes.truncate(end);
    bytes
}

/// Follows a chunk through a host that gives what is asked for, or less.
fn follow(frames: &mut ClientFrames, chunk: &[u8], chance: &mut Chance) {
    let read = |start: usize, size: usize| {
        assert!(size > 0 && start + size <= chunk.len(), "{size} from {start} of {}", chunk.len());
        let given = if chance.below(4) == 0 { 1 + chance.below(size) } else { size };
        Ok::<_, Infallible>(chunk[start..start + given].to_vec())
    };
    frames.follow(chunk.len(), read, drop).unwrap();
}

/// What Postgres reads of a session that ends here: whole messages, and of the last one of the client's own nothing that runs.
fn ends_well(bytes: &[u8], frames: &ClientFrames, replicates: bool) {
    let case = || bytes.escape_ascii().to_string();
    let begun = match reference(bytes) {
        Standing::Boundary => return assert_eq!(frames.spoil(replicates), Some(Vec::new())),
        Standing::Lost => return assert_eq!(frames.spoil(replicates), None, "{}", case()),
        Standing::Amid(begun) => begun,
    };
    let Some(filler) = frames.spoil(replicates) else { return };
    let all = [bytes, &filler, FINISH].concat();
    let kind = all[begun];
    let length = u32::from_be_bytes(all[begun + 1..begun + 5].try_into().unwrap()) as usize;
    if length < 4 {
        // Postgres closes at this header, which the client had not sent to its end.
        assert!(bytes.len() < begun + 5 && all[begun + 5..] == *FINISH, "{}", case());
        return;
    }
    assert_eq!(&all[begun + 1 + length..], FINISH, "{}", case());
    // No other kind is known to run nothing; a row is taken apart where it replicates.
    assert!(b"QPBCDHSfd".contains(&kind) && (kind != b'd' || !replicates), "{}", case());
    let body = &all[begun + 5..=begun + length];
    assert!(kind != b'Q' || body.last() != Some(&0), "a query was made whole: {}", case());
}

#[test]
fn boundaries_are_those_of_the_whole_stream_however_it_is_cut() {
    let amid = each(|chance| {
        let bytes = stream(chance);
        let (mut frames, mut at) = (ClientFrames::default(), 0);
        for piece in chance.pieces(bytes.len()) {
            follow(&mut frames, &bytes[at..at + piece], chance);
            at += piece;
            let standing = reference(&bytes[..at]);
            let expected = standing == Standing::Boundary;
            assert_eq!(frames.at_boundary(), expected, "{at} of {}", bytes.escape_ascii());
        }
        ends_well(&bytes, &frames, chance.below(2) == 0);
        matches!(reference(&bytes), Standing::Amid(_))
    });
    assert!(amid > 1_000, "{amid}");
}

#[test]
fn a_stream_may_end_at_every_byte() {
    let mut chance = Chance::default();
    for _ in 0..100 {
        let bytes = stream(&mut chance);
        let mut frames = ClientFrames::default();
        for at in 0..bytes.len() {
            follow(&mut frames, &bytes[at..=at], &mut chance);
            ends_well(&bytes[..=at], &frames, false);
        }
    }
}
