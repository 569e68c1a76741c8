//! Running sessions with whatever in them, in pieces, that end at any byte: until then every byte goes on as it is, and
//! from then on nothing of the client's does, or blanks in its place.
//!
//! The test command takes some hundreds; `SIGNET_FUZZ_INPUTS=1000000` makes it as many, with the same seed.

use wasm_host::{Connection, PostgresFilter, Progress};

use super::{API, NOW, POLICY, error, fuzz::Chance, session, start};

/// Sessions of one filter, which keeps its log.
const OF_EACH: usize = 10_000;
/// A session of the API lasts so long.
const MAX_SESSION: u64 = 3_600;
/// `CopyFail` and `Terminate`.
const FINISH: &[u8] = b"f\0\0\0\x1asignet: session ended\0X\0\0\0\x04";

/// A message, or what looks like one.
fn message(chance: &mut Chance) -> Vec<u8> {
    let kind = chance.one_of(b"QPBDESCHFdcfX");
    let body: Vec<u8> = (0..chance.below(30)).map(|_| chance.one_of(b"\0\x03\x04aQE")).collect();
    let length = u32::try_from(body.len() + 4).unwrap();
    let length = if chance.below(50) == 0 { length ^ 1 } else { length };
    [&[kind], length.to_be_bytes().as_slice(), &body].concat()
}

/// The kinds of the whole messages, and whether these are all that Postgres has got to read: it closes at a length below 4.
fn read(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut kinds = Vec::new();
    while let [kind, a, b, c, d, ..] = bytes {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        if length < 4 {
            return (kinds, true);
        }
        let Some(rest) = bytes.get(1 + length..) else { return (kinds, false) };
        kinds.push(*kind);
        bytes = rest;
    }
    (kinds, bytes.is_empty())
}

/// Both sides speak for a while; what the client has said.
fn speak(filter: &mut PostgresFilter, connection: Connection, chance: &mut Chance) -> Vec<u8> {
    let said: Vec<u8> = (0..chance.below(6)).flat_map(|_| message(chance)).collect();
    let said = said[..said.len() - chance.below(said.len().min(25) + 1)].to_vec();
    let mut rest = said.as_slice();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(1 + chance.below(rest.len()));
        rest = after;
        let passed = filter.from_client(connection, piece, false).unwrap();
        assert_eq!(passed, Progress { to_server: piece.to_vec(), ..Progress::default() });
        let answer = message(chance);
        let passed = filter.from_server(connection, &answer, false).unwrap();
        assert_eq!(passed, Progress { to_client: answer, ..Progress::default() });
    }
    said
}

/// Whether Postgres was asked to finish, and not left to what the client had begun.
fn ends(filter: &mut PostgresFilter, began: u64, chance: &mut Chance) -> bool {
    let connection = session(filter, API);
    let said = speak(filter, connection, chance);
    filter.set_unix_seconds(began + MAX_SESSION);
    let mut tail = filter.tick(connection).unwrap().to_server;
    // The rest goes nowhere, however it comes; of a message that is too large to be made whole, blanks may.
    for _ in 0..chance.below(3) {
        let more = filter.from_client(connection, &message(chance), false).unwrap().to_server;
        let blanks = more.strip_suffix(FINISH).unwrap_or(&more);
        assert!(blanks.iter().all(|byte| *byte == b' '), "{}", more.escape_ascii());
        assert!(more.is_empty() || !tail.ends_with(FINISH), "{}", more.escape_ascii());
        tail.extend(more);
    }
    let is_finished = tail.ends_with(FINISH);
    let case = || format!("{} then {}", said.escape_ascii(), tail.escape_ascii());
    let ((before, _), (after, is_whole)) = (read(&said), read(&[said.as_slice(), &tail].concat()));
    let more = &after[before.len()..];
    if is_finished {
        // Beside what finishes there is no more than the message that was begun, if Postgres reads on at all.
        assert!(is_whole, "{}", case());
        assert!(matches!(more, [] | [b'f', b'X'] | [_, b'f', b'X']), "{}", case());
        assert!(!matches!(more, [b'E' | b'F' | b'c', ..]), "{}", case());
    } else {
        assert_eq!(more, b"", "{}", case());
    }
    // Postgres' last words are followed by why.
    let last = filter.from_server(connection, b"", true).unwrap().to_client;
    assert_eq!(error(&last)[&'C'], "57P01", "{}", case());
    filter.disconnect(connection).unwrap();
    is_finished
}

#[test]
fn a_session_ends_at_any_byte_and_nothing_comes_after() {
    let wanted = std::env::var("SIGNET_FUZZ_INPUTS").ok().and_then(|count| count.parse().ok());
    let wanted: usize = wanted.unwrap_or(1_000);
    let mut chance = Chance(0x2545_f491_4f6c_dd1d);
    let mut finished = 0;
    for first in (0..wanted).step_by(OF_EACH) {
        let (mut filter, mut now) = (start(POLICY), NOW);
        for _ in first..wanted.min(first + OF_EACH) {
            finished += usize::from(ends(&mut filter, now, &mut chance));
            now += MAX_SESSION;
        }
    }
    println!("{wanted} sessions, {finished} of them asked to finish");
    // Neither way out of a message is rare.
    assert!(finished > wanted / 2 && finished < wanted, "{finished} of {wanted}");
}
