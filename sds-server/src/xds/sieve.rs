//! Reads a discovery request while its bytes arrive, and keeps only what is looked at.
//!
//! Envoy's node has 61 KB of extensions and comes with every request, ACKs too. They are passed over as
//! they come: no buffer ever holds them. What is kept is a small message of the same type, so that
//! [`wire`](super::wire) has the last word on it.

use bytes::BufMut;
use prost::encoding::{WireType, encode_key, encode_varint};

/// The fields of a message that are looked at; all of them have a length before them.
#[derive(Debug)]
pub(crate) struct Fields {
    /// The one that holds an Envoy's node.
    node: u32,
    others: &'static [u32],
}

/// Of the state-of-the-world protocol's request.
pub(crate) const STATE: &Fields = &Fields { node: 2, others: &[1, 3, 4, 5, 6] };
/// Of the delta protocol's request.
pub(crate) const DELTA: &Fields = &Fields { node: 1, others: &[2, 3, 4, 5, 6, 7] };
/// Of a node: its id, its cluster, its metadata.
const OF_NODE: &[u32] = &[1, 2, 3];
/// A varint of 64 bits has no more bytes.
const VARINT: u32 = 10;

/// Why bytes are no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("a number of more than 64 bits")]
    Varint,
    #[error("a field with the number {0}, accepted are 1 to 536870911")]
    Number(u64),
    #[error("a field of the wire type {0}, accepted are 0, 1, 2 and 5")]
    WireType(u64),
    #[error("field {number} without a length")]
    NoLength { number: u32 },
    #[error("a field of {found} bytes within a node that has {left} left")]
    TooLong { found: u64, left: usize },
    #[error("the message ends in the middle of a field")]
    CutOff,
}

/// A request that is being read.
#[derive(Debug)]
pub(super) struct Sieve {
    fields: &'static Fields,
    kept: Vec<u8>,
    at: At,
    varint: (u64, u32),
    /// Bytes of the node that are still to come, while it is being read.
    node: Option<usize>,
    /// Whether this request has one.
    has_node: bool,
    /// A stream's node is that of its first request; later ones are passed over whole.
    knows_node: bool,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Key,
    /// A number that nobody looks at.
    Number,
    Length {
        number: u32,
    },
    Bytes {
        left: u64,
        keep: bool,
    },
}

impl Sieve {
    /// A sieve of a stream's requests, one after the other.
    pub(super) fn new(fields: &'static Fields) -> Self {
        let (kept, varint) = (Vec::new(), (0, 0));
        Self { fields, kept, at: At::Key, varint, node: None, has_node: false, knows_node: false }
    }

    /// Takes in the next bytes of a request.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while let Some((first, rest)) = bytes.split_first() {
            self.leave_node();
            if let At::Bytes { left, keep } = self.at {
                let count = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
                let (these, rest) = bytes.split_at(count);
                if keep {
                    self.kept.extend_from_slice(these);
                }
                self.consume(count)?;
                self.pass(left - count as u64, keep);
                bytes = rest;
                continue;
            }
            self.consume(1)?;
            bytes = rest;
            let (value, length) = self.varint;
            if length == VARINT - 1 && *first > 1 {
                return Err(Fault::Varint);
            }
            let value = value | u64::from(first & 0x7f) << (7 * length);
            if first & 0x80 != 0 {
                self.varint = (value, length + 1);
                continue;
            }
            self.varint = (0, 0);
            match self.at {
                At::Key => self.take_key(value)?,
                At::Length { number } => self.take_length(number, value)?,
                At::Number | At::Bytes { .. } => self.at = At::Key,
            }
        }
        self.leave_node();
        Ok(())
    }

    /// The request without what nobody looks at. The next one may follow.
    pub(super) fn finish(&mut self) -> Result<Vec<u8>, Fault> {
        if self.at != At::Key || self.varint.1 > 0 || self.node.is_some() {
            return Err(Fault::CutOff);
        }
        self.knows_node |= std::mem::take(&mut self.has_node);
        Ok(std::mem::take(&mut self.kept))
    }

    /// Bytes that are kept of the request so far.
    pub(super) fn held(&self) -> usize {
        self.kept.len()
    }

    fn take_key(&mut self, key: u64) -> Result<(), Fault> {
        let number = u32::try_from(key).map_err(|_| Fault::Number(key >> 3))? >> 3;
        if number == 0 {
            return Err(Fault::Number(0));
        }
        let wanted = self.is_wanted(number);
        self.at = match key & 7 {
            2 => At::Length { number },
            0 | 1 | 5 if wanted => return Err(Fault::NoLength { number }),
            0 => At::Number,
            1 => At::Bytes { left: 8, keep: false },
            5 => At::Bytes { left: 4, keep: false },
            // Groups, which no message of these has and nobody writes any more.
            other => return Err(Fault::WireType(other)),
        };
        Ok(())
    }

    fn take_length(&mut self, number: u32, length: u64) -> Result<(), Fault> {
        let is_node = self.node.is_none() && number == self.fields.node;
        if is_node && !self.knows_node {
            let length = usize::try_from(length).map_err(|_| Fault::CutOff)?;
            // That there is a node, whatever it says.
            self.begin_field(number, 0);
            (self.node, self.has_node, self.at) = (Some(length), true, At::Key);
            return Ok(());
        }
        if let Some(left) = self.node
            && length > left as u64
        {
            return Err(Fault::TooLong { found: length, left });
        }
        let keep = !is_node && self.is_wanted(number);
        if keep && self.node.is_some() {
            // Parts of a message that stand in several fields are one message.
            let mut inner = Vec::new();
            encode_key(number, WireType::LengthDelimited, &mut inner);
            encode_varint(length, &mut inner);
            self.begin_field(self.fields.node, inner.len() as u64 + length);
            self.kept.put_slice(&inner);
        } else if keep {
            self.begin_field(number, length);
        }
        self.pass(length, keep);
        Ok(())
    }

    fn begin_field(&mut self, number: u32, length: u64) {
        encode_key(number, WireType::LengthDelimited, &mut self.kept);
        encode_varint(length, &mut self.kept);
    }

    fn pass(&mut self, left: u64, keep: bool) {
        self.at = if left == 0 { At::Key } else { At::Bytes { left, keep } };
    }

    fn is_wanted(&self, number: u32) -> bool {
        match self.node {
            Some(_) => OF_NODE.contains(&number),
            None => number == self.fields.node || self.fields.others.contains(&number),
        }
    }

    /// Counts bytes that belong to the node.
    fn consume(&mut self, count: usize) -> Result<(), Fault> {
        if let Some(left) = &mut self.node {
            *left = left.checked_sub(count).ok_or(Fault::CutOff)?;
        }
        Ok(())
    }

    fn leave_node(&mut self) {
        if self.node == Some(0) && self.at == At::Key && self.varint.1 == 0 {
            self.node = None;
        }
    }
}

#[cfg(test)]
#[path = "sieve_tests.rs"]
mod tests;
