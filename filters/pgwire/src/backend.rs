//! What a server says between the start-up packet and its first `ReadyForQuery`.

/// A type and an int32 length.
const HEADER: usize = 5;
/// `BackendKeyData` holds a process id and a key of at most 256 bytes.
const MAX_KEY_DATA: usize = 4 + 256;
/// Enough of an `ErrorResponse` to hold its SQLSTATE, which stands in front.
const MAX_ERROR: usize = 256;

/// A message that the filter cares about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendMessage {
    /// What a later `CancelRequest` must repeat.
    KeyData {
        /// Process id of the backend.
        pid: u32,
        /// Its secret.
        key: Vec<u8>,
    },
    /// The first `ReadyForQuery`: the session has begun.
    Ready,
    /// The server refused; its SQLSTATE.
    Error {
        /// Five letters or digits, or fewer if the server sent fewer.
        sqlstate: String,
    },
    /// A length below 4: from here on the server does not speak protocol 3.
    Foreign,
}

/// Reads a server's messages from chunks of any size, keeping no more than the few bytes it needs.
#[derive(Debug, Default)]
pub struct BackendMessages {
    /// The header of the message at hand, until it has its five bytes.
    header: Vec<u8>,
    /// Its type and how much of its body is still to come.
    body: Option<(u8, usize)>,
    /// The part of the body that is worth keeping.
    kept: Vec<u8>,
}

impl BackendMessages {
    /// Takes the next chunk and gives what became whole with it. Stops reading at the first `Ready` or `Foreign`.
    pub fn push(&mut self, mut chunk: &[u8]) -> Vec<BackendMessage> {
        let mut messages = Vec::new();
        loop {
            let (kind, remaining) = if let Some(body) = self.body {
                body
            } else {
                let Some((kind, length)) = self.read_header(&mut chunk) else {
                    return messages;
                };
                let Some(body) = length.checked_sub(4) else {
                    messages.push(BackendMessage::Foreign);
                    return messages;
                };
                (kind, body)
            };
            let (part, rest) = chunk.split_at_checked(remaining).unwrap_or((chunk, &[]));
            let room = limit(kind).saturating_sub(self.kept.len());
            if room > 0 {
                self.kept.extend_from_slice(part.get(..room).unwrap_or(part));
            }
            chunk = rest;
            if part.len() < remaining {
                self.body = Some((kind, remaining - part.len()));
                return messages;
            }
            self.body = None;
            let kept = std::mem::take(&mut self.kept);
            match kind {
                b'K' => messages.extend(key_data(&kept)),
                b'E' => messages.push(BackendMessage::Error { sqlstate: sqlstate(&kept) }),
                b'Z' => {
                    messages.push(BackendMessage::Ready);
                    return messages;
                }
                _ => {}
            }
        }
    }

    /// Type and announced length of the next message, once its header is whole.
    fn read_header(&mut self, chunk: &mut &[u8]) -> Option<(u8, usize)> {
        // All of it lies in the chunk, but for a few.
        if self.header.is_empty()
            && let Some((header, rest)) = chunk.split_first_chunk()
        {
            *chunk = rest;
            return Some(kind_and_length(*header));
        }
        let lacking = HEADER - self.header.len().min(HEADER);
        let (part, rest) = chunk.split_at_checked(lacking).unwrap_or((chunk, &[]));
        self.header.extend_from_slice(part);
        *chunk = rest;
        let header = <[u8; HEADER]>::try_from(self.header.as_slice()).ok()?;
        self.header.clear();
        Some(kind_and_length(header))
    }
}

fn kind_and_length([kind, a, b, c, d]: [u8; HEADER]) -> (u8, usize) {
    (kind, usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX))
}

/// Size of a `ReadyForQuery`, in bytes.
pub const READY_SIZE: usize = 6;

/// Whether bytes of a server end in a `ReadyForQuery`, by their look alone: inside of a row they would look the same.
pub fn ends_in_ready(bytes: &[u8]) -> bool {
    matches!(bytes.last_chunk(), Some([b'Z', 0, 0, 0, 5, b'I' | b'T' | b'E']))
}

/// Whether bytes of a server are an `ErrorResponse` of class `08P01`, alone or with a `ReadyForQuery` behind it: what it
/// says to a message that makes no sense.
pub fn is_protocol_violation(bytes: &[u8]) -> bool {
    let Some((&[b'E', a, b, c, d], rest)) = bytes.split_first_chunk() else { return false };
    let size = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    let Some((body, rest)) = rest.split_at_checked(size.saturating_sub(4)) else { return false };
    let is_end = rest.is_empty() || (rest.len() == READY_SIZE && ends_in_ready(rest));
    is_end && sqlstate(body) == "08P01"
}

fn limit(kind: u8) -> usize {
    match kind {
        b'K' => MAX_KEY_DATA,
        b'E' => MAX_ERROR,
        _ => 0,
    }
}

fn key_data(body: &[u8]) -> Option<BackendMessage> {
    let (pid, key) = body.split_first_chunk::<4>()?;
    Some(BackendMessage::KeyData { pid: u32::from_be_bytes(*pid), key: key.to_vec() })
}

fn sqlstate(body: &[u8]) -> String {
    let code = body.split(|&byte| byte == 0).find_map(|field| field.strip_prefix(b"C"));
    let code = code.unwrap_or_default().iter().filter(|byte| byte.is_ascii_alphanumeric());
    code.take(5).map(|&byte| char::from(byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session_start() -> Vec<u8> {
        [
            b"R\0\0\0\x08\0\0\0\0".as_slice(),
            b"S\0\0\0\x16application_name\0\0",
            b"K\0\0\0\x0c\0\0\x01\x02abcd",
            b"Z\0\0\0\x05I",
            b"T anything at all",
        ]
        .concat()
    }

    #[test]
    fn every_split_finds_the_key_and_the_end_of_the_start_up() {
        let expected =
            [BackendMessage::KeyData { pid: 258, key: b"abcd".to_vec() }, BackendMessage::Ready];
        let bytes = session_start();
        let after_ready = "T anything at all".len();
        for split in 0..bytes.len() - after_ready {
            let mut messages = BackendMessages::default();
            let mut found = messages.push(&bytes[..split]);
            found.extend(messages.push(&bytes[split..]));
            assert_eq!(found, expected, "split at {split}");
        }
    }

    #[test]
    fn byte_by_byte() {
        let mut messages = BackendMessages::default();
        let bytes = session_start();
        let mut found = Vec::new();
        for byte in &bytes[..bytes.len() - 17] {
            found.extend(messages.push(&[*byte]));
        }
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn an_error_tells_its_state_however_long_it_is() {
        let body = [b"SFATAL\0VFATAL\0C28000\0M".as_slice(), &[b'x'; 5000], b"\0\0"].concat();
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        let found = BackendMessages::default().push(&[b"E", length.as_slice(), &body].concat());
        assert_eq!(found, [BackendMessage::Error { sqlstate: "28000".into() }]);
    }

    #[test]
    fn a_ready_for_query_is_told_by_the_last_six_bytes() {
        for (bytes, expected) in [
            (b"Z\0\0\0\x05I".as_slice(), true),
            (b"C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05T", true),
            (b"Z\0\0\0\x05E", true),
            (b"Z\0\0\0\x05", false),
            (b"Z\0\0\0\x05X", false),
            (b"Z\0\0\0\x05I1", false),
            (b"", false),
        ] {
            assert_eq!(ends_in_ready(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_complaint_is_one_error_and_what_may_follow_it() {
        let error = |state: &str| {
            let body = [b"SERROR\0VERROR\0C", state.as_bytes(), b"\0Mx\0\0"].concat();
            let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
            [b"E", length.as_slice(), &body].concat()
        };
        let with = |more: &[u8]| [error("08P01").as_slice(), more].concat();
        for (bytes, expected) in [
            (error("08P01"), true),
            (with(b"Z\0\0\0\x05T"), true),
            (with(b"Z\0\0\0\x05"), false),
            (with(b"Z\0\0\0\x05TT"), false),
            (error("57014"), false),
            (error("08P01")[..9].to_vec(), false),
            (b"E\0\0\0\x03".to_vec(), false),
            (Vec::new(), false),
        ] {
            assert_eq!(is_protocol_violation(&bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_length_below_four_is_foreign_and_takes_nothing_back() {
        let bytes = b"K\0\0\0\x0c\0\0\x01\x02abcdR\0\0\0\x03Z\0\0\0\x05I";
        let key = BackendMessage::KeyData { pid: 258, key: b"abcd".to_vec() };
        assert_eq!(BackendMessages::default().push(bytes), [key, BackendMessage::Foreign]);
    }
}
