//! What Postgres says at the start of a session.

use pgwire::{
    BackendMessage, BackendMessages, CancelledQuery, ends_in_ready, is_protocol_violation,
};

use crate::{chance::Chance, each};

/// The messages of a stream up to the first `ReadyForQuery`, and whether it is a stream so far: type and body.
fn reference(mut bytes: &[u8]) -> (Vec<(u8, &[u8])>, bool) {
    let mut messages = Vec::new();
    while bytes.len() >= 5 {
        let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
        if length < 4 {
            return (messages, false);
        }
        if bytes.len() < 1 + length {
            break;
        }
        messages.push((bytes[0], &bytes[5..=length]));
        if bytes[0] == b'Z' {
            break;
        }
        bytes = &bytes[1 + length..];
    }
    (messages, true)
}

/// What the filter is to be told of a stream.
fn meaning(bytes: &[u8]) -> Vec<BackendMessage> {
    let (messages, is_stream) = reference(bytes);
    let of = |(kind, body): (u8, &[u8])| match kind {
        b'K' if body.len() >= 4 => Some(BackendMessage::KeyData {
            pid: u32::from_be_bytes(body[..4].try_into().unwrap()),
            key: body[4..body.len().min(260)].to_vec(),
        }),
        b'Z' => Some(BackendMessage::Ready),
        b'E' => Some(BackendMessage::Error { sqlstate: sqlstate(&body[..body.len().min(256)]) }),
        _ => None,
    };
    let foreign = (!is_stream).then_some(BackendMessage::Foreign);
    messages.into_iter().filter_map(of).chain(foreign).collect()
}

fn sqlstate(body: &[u8]) -> String {
    for field in body.split(|byte| *byte == 0) {
        if field.first() == Some(&b'C') {
            let code = field[1..].iter().filter(|byte| byte.is_ascii_alphanumeric());
            return code.take(5).map(|byte| char::from(*byte)).collect();
        }
    }
    String::new()
}

fn stream(chance: &mut Chance) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=chance.below(7) {
        let kind = chance.one_of(b"RSKENvSKEZ");
        let body = match kind {
            b'E' => b"SFATAL\0C28000\0Mno\0\0".to_vec(),
            // Bodies that look like messages of their own.
            b'S' => b"K\0\0\0\x0c\0\0\0\x01forgZ\0\0\0\x05I".to_vec(),
            b'Z' => vec![chance.one_of(b"ITE")],
            b'K' => chance.octets(b"\0\x01abK", 300),
            _ => chance.octets(b"\0\x04Z", 20),
        };
        bytes.extend(chance.message(kind, &body));
    }
    chance.mutate(&mut bytes);
    bytes
}

/// However it is cut, the same is told; and nothing that is a part of something else.
fn check(bytes: &[u8], pieces: Vec<usize>) -> bool {
    let (mut messages, mut found, mut at) = (BackendMessages::default(), Vec::new(), 0);
    for piece in pieces {
        found.extend(messages.push(&bytes[at..at + piece]));
        if let Some(BackendMessage::Ready | BackendMessage::Foreign) = found.last() {
            break;
        }
        at += piece;
    }
    assert_eq!(found, meaning(bytes), "{}", bytes.escape_ascii());
    found.iter().any(|message| matches!(message, BackendMessage::KeyData { .. }))
}

#[test]
fn what_postgres_says_is_told_alike_however_it_is_cut() {
    let keys = each(|chance| {
        let bytes = stream(chance);
        let pieces = chance.pieces(bytes.len());
        check(&bytes, pieces)
    });
    assert!(keys > 1_000, "{keys}");
}

#[test]
fn every_split_of_a_stream_tells_the_same() {
    let mut chance = Chance::default();
    for _ in 0..200 {
        let bytes = stream(&mut chance);
        for split in 1..bytes.len() {
            check(&bytes, vec![split, bytes.len() - split]);
        }
    }
}

/// The two that look at a chunk's end alone agree with reading it whole, where that can be.
#[test]
fn what_is_told_by_the_look_of_a_chunk_is_there() {
    let complaints = each(|chance| {
        let mut bytes = b"E\0\0\0\x1dSERROR\0C08P01\0Minvalid\0\0\0Z\0\0\0\x05I".to_vec();
        if chance.below(2) == 0 {
            bytes.truncate(30);
        }
        chance.mutate(&mut bytes);
        if ends_in_ready(&bytes) {
            let tail = &bytes[bytes.len() - 6..];
            assert_eq!(reference(tail).0, [(b'Z', &tail[5..])]);
        }
        let complains = is_protocol_violation(&bytes);
        if complains {
            let (messages, is_stream) = reference(&bytes);
            assert!(is_stream && messages[0].0 == b'E' && sqlstate(messages[0].1) == "08P01");
            let size: usize = messages.iter().map(|(_, body)| 5 + body.len()).sum();
            assert!(size == bytes.len() && messages.len() <= 2, "{}", bytes.escape_ascii());
        }
        complains
    });
    assert!(complaints > 1_000, "{complaints}");
}

/// Whatever a server says, what a cancelled query passes on is that, up to the error if it is the last thing said.
#[test]
fn what_stands_before_the_error_of_a_cancel_passes_as_it_is() {
    const ERROR: &[u8] = b"E\0\0\0\x20SERROR\0VERROR\0C57014\0Mover\0\0";
    let found = each(|chance| {
        let mut bytes = stream(chance);
        bytes.extend(ERROR);
        if chance.below(2) == 0 {
            bytes.extend(b"Z\0\0\0\x05T");
        }
        if chance.below(4) == 0 {
            chance.mutate(&mut bytes);
        }
        let (mut query, mut passed, mut at) = (CancelledQuery::default(), Vec::new(), 0);
        for piece in chance.pieces(bytes.len()) {
            let (part, is_cancelled) = query.push(&bytes[at..at + piece]);
            passed.extend(part);
            at += piece;
            if is_cancelled {
                assert!(bytes.starts_with(&passed), "{}", bytes.escape_ascii());
                let error = &bytes[passed.len()..at];
                assert!(error.starts_with(ERROR) || error.starts_with(b"E\0"), "{error:?}");
                return true;
            }
        }
        passed.extend(query.take_rest());
        assert_eq!(passed, bytes, "{}", bytes.escape_ascii());
        false
    });
    assert!(found > 1_000, "{found}");
}
