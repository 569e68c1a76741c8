//! Where a client's bytes stand between its messages, once its start-up is over.

/// Most bytes that are asked for at a time. Many small messages fit in, and a large body is skipped unread.
const WINDOW: usize = 1024;
/// Most bytes that make an unfinished message whole.
const MAX_SPOIL: u64 = 1 << 20;
/// What a spoiled message is filled with: no NUL, so that no string in it ends.
pub const FILLER: u8 = b' ';

/// Follows a client's messages by their lengths. Bodies are not read.
///
/// Holds a few bytes and allocates nothing. From the start-up packet on all messages have one form, a type and an int32
/// length that includes itself; Postgres closes at the first that has not, and here no boundary is ever seen again.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClientFrames {
    /// Type and length of the newest message, as far as they have come.
    header: [u8; 5],
    /// How much of the header is there, 0 when it is whole.
    header_size: usize,
    /// How much of its body is still to come.
    body: u64,
}

impl ClientFrames {
    /// Follows `size` more bytes. `read` gives up to a number of them from a position on: its errors are given back, and
    /// `done` gets what it gave.
    pub fn follow<E>(
        &mut self,
        size: usize,
        mut read: impl FnMut(usize, usize) -> Result<Vec<u8>, E>,
        mut done: impl FnMut(Vec<u8>),
    ) -> Result<(), E> {
        let mut position = self.skip(size);
        while position < size {
            let window = read(position, WINDOW.min(size - position))?;
            if window.is_empty() {
                self.lose();
            }
            let mut rest = window.as_slice();
            while let Some((&byte, after)) = rest.split_first() {
                self.push_header(byte);
                rest = after.get(self.skip(after.len())..).unwrap_or_default();
            }
            position += window.len();
            done(window);
            position += self.skip(size - position);
        }
        Ok(())
    }

    /// Whether the next byte begins a message. At first it does.
    pub fn at_boundary(&self) -> bool {
        self.header_size == 0 && self.body == 0
    }

    /// What makes the message at hand whole so that Postgres does nothing for it but complain: it can be spoken to again.
    /// Nothing at a boundary.
    ///
    /// A header is ended by zeros: a length below 4 ends the session. A body is filled with spaces, which end no string;
    /// `Parse` and `Bind` may become valid by that, but they run nothing. `None` for messages that could run something
    /// (`Execute`, `FunctionCall`, a `CopyDone` with a body), for rows where `replicates`, since a server takes positions out of
    /// them, for what lacks more than 1 MiB, and after a length that cannot be.
    pub fn spoil(&self, replicates: bool) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut body = self.body;
        if self.header_size > 0 {
            bytes.resize(self.header.len().saturating_sub(self.header_size), 0);
            let known = self.header.iter().take(self.header_size).chain(&bytes).skip(1);
            let length = known.fold(0, |length, &byte| length << 8 | u64::from(byte));
            body = length.saturating_sub(4);
        }
        let fits = body == 0 || (body <= MAX_SPOIL && self.can_be_filled(replicates));
        let size = bytes.len().saturating_add(usize::try_from(body).ok()?);
        fits.then(|| {
            bytes.resize(size, FILLER);
            bytes
        })
    }

    /// Takes what belongs to the message at hand off `available` bytes of the client: how many blanks Postgres may have in
    /// their place, by the rules of [`Self::spoil`] but for its bound. They bring a large message nearer to its end.
    pub fn blank(&mut self, available: usize, replicates: bool) -> usize {
        if self.header_size > 0 || !self.can_be_filled(replicates) {
            return 0;
        }
        self.skip(available)
    }

    fn can_be_filled(&self, replicates: bool) -> bool {
        match self.header.first() {
            _ if self.body > u32::MAX.into() => false,
            Some(b'Q' | b'P' | b'B' | b'C' | b'D' | b'H' | b'S' | b'f') => true,
            Some(b'd') => !replicates,
            _ => false,
        }
    }

    /// Takes what belongs to the body off `available` bytes; how many do.
    fn skip(&mut self, available: usize) -> usize {
        let skipped = usize::try_from(self.body).unwrap_or(usize::MAX).min(available);
        self.body -= skipped as u64;
        skipped
    }

    fn push_header(&mut self, byte: u8) {
        if let Some(place) = self.header.get_mut(self.header_size) {
            *place = byte;
        }
        self.header_size += 1;
        if self.header_size < self.header.len() {
            return;
        }
        self.header_size = 0;
        let [_, a, b, c, d] = self.header;
        match u32::from_be_bytes([a, b, c, d]).checked_sub(4) {
            Some(body) => self.body = body.into(),
            None => self.lose(),
        }
    }

    /// A body without an end.
    fn lose(&mut self) {
        self.body = u64::MAX;
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn message(kind: u8, body: usize) -> Vec<u8> {
        let length = u32::try_from(body + 4).unwrap().to_be_bytes();
        // A body of lengths: read as a header it would lead astray.
        [&[kind], length.as_slice(), &vec![3; body]].concat()
    }

    /// The frames after these chunks, and how many bytes were read of them.
    fn follow(frames: &mut ClientFrames, chunk: &[u8]) -> usize {
        let mut bytes_read = 0;
        let read = |start: usize, size: usize| {
            bytes_read += size;
            Ok::<_, Infallible>(chunk[start..start + size].to_vec())
        };
        frames.follow(chunk.len(), read, drop).unwrap();
        bytes_read
    }

    #[test]
    fn a_boundary_is_where_a_message_ends_however_the_bytes_come() {
        let messages = [0, 1, 7, 0, 0, 300, 5_000, 2].map(|body| message(b'Q', body));
        let mut ends = vec![0];
        ends.extend(messages.iter().scan(0, |end, message| {
            *end += message.len();
            Some(*end)
        }));
        let bytes = messages.concat();
        for split in 0..=bytes.len() {
            let mut frames = ClientFrames::default();
            follow(&mut frames, &bytes[..split]);
            assert_eq!(frames.at_boundary(), ends.contains(&split), "at {split}");
            follow(&mut frames, &bytes[split..]);
            assert!(frames.at_boundary(), "split at {split}");
        }
        for size in [1, 2, 3, 1024, 1025] {
            let mut frames = ClientFrames::default();
            for (index, chunk) in bytes.chunks(size).enumerate() {
                follow(&mut frames, chunk);
                let position = index * size + chunk.len();
                assert_eq!(frames.at_boundary(), ends.contains(&position), "{size}: {position}");
            }
        }
    }

    #[test]
    fn bodies_are_not_read() {
        let mut frames = ClientFrames::default();
        assert_eq!(follow(&mut frames, &message(b'Q', 1_000_000)), WINDOW);
        let large = message(b'd', 60_000);
        assert_eq!(follow(&mut frames, &large[..30_000]), WINDOW);
        assert_eq!(follow(&mut frames, &large[30_000..60_000]), 0);
        assert_eq!(frames.spoil(false), Some(vec![b' '; 5]));
        assert_eq!(follow(&mut frames, &large[60_000..]), 0);
        assert!(frames.at_boundary());
    }

    #[test]
    fn after_a_length_that_cannot_be_there_is_no_boundary() {
        for length in 0..4 {
            let mut frames = ClientFrames::default();
            follow(&mut frames, &[b'Q', 0, 0, 0, length]);
            follow(&mut frames, &message(b'Q', 7));
            assert!(!frames.at_boundary(), "length {length}");
        }
        let mut frames = ClientFrames::default();
        frames.follow(5, |_, _| Ok::<_, Infallible>(Vec::new()), drop).unwrap();
        assert!(!frames.at_boundary(), "bytes that cannot be read");
    }

    #[test]
    fn what_finishes_a_session_is_two_whole_messages() {
        let (copy_fail, terminate) = crate::FINISH.split_at(27);
        for (kind, bytes) in [(b'f', copy_fail), (b'X', terminate)] {
            let mut frames = ClientFrames::default();
            follow(&mut frames, &bytes[..bytes.len() - 1]);
            assert!(!frames.at_boundary() && bytes[0] == kind);
            follow(&mut frames, &bytes[bytes.len() - 1..]);
            assert!(frames.at_boundary());
        }
    }

    /// Messages as the server reads them: type, announced length, body. Ends at what is no message.
    fn read(mut bytes: &[u8]) -> Vec<(u8, u32, Vec<u8>)> {
        let mut messages = Vec::new();
        while let [kind, a, b, c, d, rest @ ..] = bytes {
            let length = u32::from_be_bytes([*a, *b, *c, *d]);
            let size = length.saturating_sub(4) as usize;
            assert!(rest.len() >= size, "{} of {size} bytes", rest.len());
            messages.push((*kind, length, rest[..size].to_vec()));
            if length < 4 {
                break;
            }
            bytes = &rest[size..];
        }
        messages
    }

    /// After any part of a message comes no message that could do something.
    #[test]
    fn a_spoiled_message_is_whole_and_not_what_was_begun() {
        let messages = [
            b"Q\0\0\0\x0ddelete x\0".as_slice(),
            b"Q\0\0\x01\x04xx",
            b"P\0\0\0\x10\0select 1\0\0\0",
            b"S\0\0\0\x04",
            b"c\0\0\0\x04",
            b"d\0\0\0\x08row\n",
            b"E\0\0\0\x09\0\0\0\0\0",
            b"F\0\0\0\x09\0\0\0\0\0",
            b"Z\0\0\0\x09\0\0\0\0\0",
        ];
        for message in messages {
            for size in 1..message.len() {
                let mut frames = ClientFrames::default();
                follow(&mut frames, &message[..size]);
                let case = format!("{size} bytes of {message:?}");
                let Some(filler) = frames.spoil(false) else {
                    assert!(size >= 5 && b"EFZ".contains(&message[0]), "{case}");
                    continue;
                };
                let read = read(&[&message[..size], &filler].concat());
                let [(kind, length, body)] = read.as_slice() else { panic!("{case}: {read:?}") };
                assert!(*kind == message[0] && !filler.is_empty(), "{case}");
                // Of a query no string ends; of the others that run something the length cannot be.
                assert!(*length < 4 || !body.ends_with(b"\0"), "{case}: {read:?}");
                assert!(*length < 4 || b"QPd".contains(kind), "{case}: {read:?}");
            }
        }
    }

    #[test]
    fn a_large_message_is_blanked_as_it_comes() {
        let after = |bytes: &[u8]| {
            let mut frames = ClientFrames::default();
            follow(&mut frames, bytes);
            frames
        };
        let mut query = after(b"Q\0\x20\0\x05sel");
        assert_eq!(query.spoil(false), None);
        assert_eq!(query.blank(1 << 20, false), 1 << 20);
        let rest = (1 << 20) + 1 - 3;
        assert_eq!(query.spoil(false).map(|filler| filler.len()), Some(rest));
        // What stands behind it is not of it.
        assert_eq!((query.blank(rest + 7, false), query.blank(7, false)), (rest, 0));
        assert!(query.at_boundary());
        for (bytes, replicates) in [
            (b"E\0\x20\0\x05".as_slice(), false),
            (b"d\0\x20\0\x05", true),
            (b"Q\0\x20", false),
            (b"Q\0\0\0\x03", false),
            (b"", false),
        ] {
            assert_eq!(after(bytes).blank(7, replicates), 0, "{bytes:?}");
        }
    }

    #[test]
    fn what_cannot_be_spoiled_is_left_alone() {
        let after = |bytes: &[u8]| {
            let mut frames = ClientFrames::default();
            follow(&mut frames, bytes);
            frames
        };
        assert_eq!(ClientFrames::default().spoil(true), Some(Vec::new()));
        let row = b"d\0\0\0\x08r";
        assert_eq!((after(row).spoil(false), after(row).spoil(true)), (Some(vec![b' '; 3]), None));
        assert_eq!(after(b"Q\0\x10\0\x05s").spoil(false).map(|filler| filler.len()), Some(1 << 20));
        assert_eq!(after(b"Q\0\x10\0\x06s").spoil(false), None);
        assert_eq!(after(b"Q\x7f").spoil(false), None);
        assert_eq!(after(b"Q\0\0\0\x03").spoil(false), None);
    }
}
