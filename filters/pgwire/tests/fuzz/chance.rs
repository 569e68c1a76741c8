//! Random bytes and where they are cut, from a seed.

/// A small generator (xorshift) instead of a dependency.
pub(crate) struct Chance(u64);

impl Default for Chance {
    fn default() -> Self {
        Self(0x2545_f491_4f6c_dd1d)
    }
}

impl Chance {
    /// From 0 to `end`, without that.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(end).unwrap()).unwrap()
    }

    pub(crate) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// Up to `most` octets of these.
    pub(crate) fn octets(&mut self, alphabet: &[u8], most: usize) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| self.one_of(alphabet)).collect()
    }

    /// A message of this type, whose length may be a lie.
    pub(crate) fn message(&mut self, kind: u8, body: &[u8]) -> Vec<u8> {
        let honest = u32::try_from(body.len() + 4).unwrap();
        let length = match self.below(40) {
            0 => self.one_of(&[0, 3, 4, 5, honest + 1, honest - 1, 1 << 20, u32::MAX]),
            _ => honest,
        };
        [&[kind], length.to_be_bytes().as_slice(), body].concat()
    }

    /// Flips, cuts and inserts a few octets in half of the cases.
    pub(crate) fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..self.below(6).saturating_sub(2) {
            let at = self.below(bytes.len() + 1);
            match self.below(3) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 => drop(bytes.drain(at..(at + 3).min(bytes.len()))),
                _ => bytes.insert(at, self.one_of(b"\0\x04\x05\x7f\xffEKQZdfcX")),
            }
        }
    }

    /// The sizes into which so many bytes are cut: one, two, many, or one byte each. None is 0.
    pub(crate) fn pieces(&mut self, size: usize) -> Vec<usize> {
        let largest = match self.below(4) {
            0 => 1,
            1 => 9,
            2 => 1500,
            _ => usize::MAX,
        };
        let mut pieces = Vec::new();
        let mut rest = size;
        while rest > 0 {
            let piece = 1 + self.below(rest.min(largest));
            pieces.push(if largest == usize::MAX && self.below(2) == 0 { rest } else { piece });
            rest -= pieces.last().unwrap();
        }
        pieces
    }
}
