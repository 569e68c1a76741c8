//! Who holds which secret since when.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::orders::Seen;

/// What all streams of the swarm have seen.
#[derive(Debug)]
pub(super) struct Board {
    /// By stream.
    lines: Vec<Line>,
    /// What all streams held before; it is not what is awaited.
    old: Option<u64>,
    began: Instant,
    /// Streams that hold something else than what is old.
    served: usize,
    responses: u64,
    trouble: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    /// The secret, by its hash.
    held: Option<u64>,
    /// When the stream began to wait, and when it got what it holds.
    asked: Instant,
    got: Instant,
}

impl Board {
    /// For streams that hold nothing.
    pub(super) fn new(streams: usize) -> Self {
        let now = Instant::now();
        let line = Line { held: None, asked: now, got: now };
        let lines = vec![line; streams];
        Self { lines, old: None, began: now, served: 0, responses: 0, trouble: None }
    }

    /// A stream begins to wait for its first secret.
    pub(super) fn asks(&mut self, stream: usize, since: Instant) {
        if let Some(line) = self.lines.get_mut(stream) {
            line.asked = since;
        }
    }

    /// From now on another secret counts.
    pub(super) fn expect(&mut self) {
        self.old = self.lines.first().and_then(|line| line.held);
        self.began = Instant::now();
        self.served = self.lines.iter().filter(|line| line.held != self.old).count();
        self.responses = 0;
    }

    /// A stream gets a response.
    pub(super) fn arrives(&mut self, stream: usize, secrets: &[Bytes]) {
        self.responses += 1;
        let Some(line) = self.lines.get_mut(stream).filter(|_| !secrets.is_empty()) else { return };
        let mut hasher = DefaultHasher::new();
        secrets.hash(&mut hasher);
        let secret = Some(hasher.finish());
        if line.held == secret {
            return;
        }
        if line.held == self.old {
            self.served += 1;
        }
        (line.held, line.got) = (secret, Instant::now());
    }

    /// Something went wrong; what came first is kept.
    pub(super) fn fails(&mut self, trouble: String) {
        self.trouble.get_or_insert(trouble);
    }

    pub(super) fn responses(&self) -> u64 {
        self.responses
    }

    pub(super) fn has_failed(&self) -> bool {
        self.trouble.is_some()
    }

    /// True once every stream holds the same new secret.
    pub(super) fn is_complete(&self) -> bool {
        let first = self.lines.first().and_then(|line| line.held);
        self.served == self.lines.len() && self.lines.iter().all(|line| line.held == first)
    }

    pub(super) fn seen(&self) -> Seen {
        let served: Vec<&Line> = self.lines.iter().filter(|line| line.held != self.old).collect();
        let after = |line: &&Line| line.got.saturating_duration_since(self.began);
        let waited = |line: &&Line| line.got.saturating_duration_since(line.asked);
        let mut waits: Vec<Duration> = served.iter().map(waited).collect();
        waits.sort_unstable();
        Seen {
            served: served.len(),
            first: served.iter().map(after).min().unwrap_or_default(),
            last: served.iter().map(after).max().unwrap_or_default(),
            median_wait: waits.get(waits.len() / 2).copied().unwrap_or_default(),
            responses: self.responses,
            trouble: self.trouble.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_over_when_all_hold_the_same_new_secret() {
        let [old, new] = ["old", "new"].map(|secret| [Bytes::from_static(secret.as_bytes())]);
        let mut board = Board::new(2);
        assert!(!board.is_complete());
        board.arrives(0, &old);
        board.arrives(1, &old);
        assert!(board.is_complete());

        board.expect();
        assert!(!board.is_complete());
        board.arrives(0, &new);
        board.arrives(0, &new);
        board.arrives(1, &old);
        assert!(!board.is_complete());
        assert_eq!((board.seen().served, board.seen().responses), (1, 3));
        board.arrives(1, &new);
        assert!(board.is_complete());
    }
}
