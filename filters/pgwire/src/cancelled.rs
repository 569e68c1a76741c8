//! The end of a query that was cancelled: an error, behind whatever the server said before.

use crate::backend::{READY_SIZE, ends_in_ready};

/// Longest error that is looked for, in bytes. What a function was at may make it long.
const LONGEST: usize = 32 * 1024;

/// Looks at what a server still says for the error that ends it, of class `57014`: by its look alone, as nobody has
/// followed the server's messages. It must be the last thing said, but for a `ReadyForQuery`.
///
/// What may be the beginning of that error is held back until more is known.
#[derive(Debug, Default)]
pub struct CancelledQuery {
    held: Vec<u8>,
}

impl CancelledQuery {
    /// Takes the next chunk: what the client shall have of it, and whether the error stands behind that.
    pub fn push(&mut self, chunk: &[u8]) -> (Vec<u8>, bool) {
        let mut bytes = std::mem::take(&mut self.held);
        bytes.extend_from_slice(chunk);
        let first = bytes.len().saturating_sub(LONGEST + READY_SIZE);
        for start in first..bytes.len() {
            match look(bytes.get(start..).unwrap_or_default()) {
                Look::Other => {}
                Look::Error => {
                    bytes.truncate(start);
                    return (bytes, true);
                }
                Look::Begun => {
                    self.held = bytes.split_off(start);
                    return (bytes, false);
                }
            }
        }
        (bytes, false)
    }

    /// What has been held back in vain, once the server has said its last.
    pub fn take_rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}

enum Look {
    /// The error, whole.
    Error,
    /// It may become the error.
    Begun,
    Other,
}

fn look(bytes: &[u8]) -> Look {
    // Two zeros: an error that is looked for has less than 64 KiB.
    if !bytes.iter().zip(b"E\0\0").all(|(byte, expected)| byte == expected) {
        return Look::Other;
    }
    let Some((&[_, _, _, high, low], rest)) = bytes.split_first_chunk() else { return Look::Begun };
    let size = usize::from(u16::from_be_bytes([high, low])).saturating_sub(4);
    if size > LONGEST {
        return Look::Other;
    }
    let Some((body, behind)) = rest.split_at_checked(size) else { return Look::Begun };
    let is_last = behind.is_empty() || (behind.len() == READY_SIZE && ends_in_ready(behind));
    match is_cancelled(body) {
        true if is_last => Look::Error,
        true if behind.len() < READY_SIZE => Look::Begun,
        _ => Look::Other,
    }
}

/// Severity, severity again in English, SQLSTATE: so begins the body of every error.
fn is_cancelled(body: &[u8]) -> bool {
    let mut fields = body.split(|&byte| byte == 0);
    let mut next = || fields.next().unwrap_or_default();
    next().starts_with(b"S") && next().starts_with(b"V") && next() == b"C57014"
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: &[u8] = b"Z\0\0\0\x05I";
    const ROW: &[u8] = b"D\0\0\0\x0a\0\x01\0\0\0\0";
    /// What looks like the beginning of an error and is a row.
    const DECOY: &[u8] = b"D\0\0\0\x16\0\x01\0\0\0\x0cE\0\0\0\x30SERROR\0";

    fn error(state: &str, more: usize) -> Vec<u8> {
        let text = [b"SFEHLER\0VERROR\0C", state.as_bytes(), b"\0M", &vec![b'x'; more], b"\0\0"];
        let body = text.concat();
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [b"E", length.as_slice(), &body].concat()
    }

    /// What the client gets of these chunks, and whether the error was found in the last of them.
    fn push<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, bool) {
        let (mut query, mut passed, mut found) = (CancelledQuery::default(), Vec::new(), false);
        for chunk in chunks {
            assert!(!found, "something stands behind it");
            let part;
            (part, found) = query.push(chunk);
            passed.extend(part);
        }
        passed.extend(query.take_rest());
        (passed, found)
    }

    #[test]
    fn the_error_is_found_wherever_the_chunks_end_before_it_is_whole() {
        for before in [b"".as_slice(), ROW, DECOY, &[ROW, DECOY, ROW].concat(), &[b'E'; 9]] {
            let whole = error("57014", 40);
            let all = [before, &whole].concat();
            for split in 0..all.len() {
                let (head, tail) = all.split_at(split);
                assert_eq!(push([head, tail]), (before.to_vec(), true), "{before:?} {split}");
                let with_ready = [tail, READY].concat();
                assert_eq!(
                    push([head, &with_ready]),
                    (before.to_vec(), true),
                    "{before:?} {split}"
                );
            }
            let bytes = all.chunks(1);
            assert_eq!(push(bytes), (before.to_vec(), true), "{before:?}");
        }
        assert_eq!(push([error("57014", 20_000).as_slice()]), (Vec::new(), true));
    }

    #[test]
    fn all_else_passes_whole_and_in_order() {
        let complete = [b"C\0\0\0\x0dSELECT 1\0".as_slice(), READY].concat();
        for (bytes, what) in [
            (error("57P01", 10), "another state"),
            ([error("57014", 10).as_slice(), READY, ROW].concat(), "something behind it"),
            (error("57014", 40_000), "too long"),
            (complete, "an end by itself"),
            (DECOY.to_vec(), "a row"),
            (b"E\0\0\0\x04".to_vec(), "nothing in it"),
            (b"E\0\0".to_vec(), "a header cut short"),
        ] {
            assert_eq!(push([bytes.as_slice()]), (bytes.clone(), false), "{what}");
            for split in 0..bytes.len().min(64) {
                let (head, tail) = bytes.split_at(split);
                if what != "something behind it" {
                    assert_eq!(push([head, tail]), (bytes.clone(), false), "{what} {split}");
                }
            }
        }
    }
}
