//! Mappings with known keys.

use super::Reader;
use crate::fault::{Fault, did_you_mean};
use crate::node::{Node, Value, span_of};

/// The keys of one mapping, each there once at most.
pub(crate) struct Keys<'n> {
    of: &'static str,
    node: &'n Node<'n>,
    entries: Vec<(&'static str, &'n Node<'n>)>,
}

impl<'n> Keys<'n> {
    /// The value of a key, if it is there.
    pub(crate) fn get(&self, key: &str) -> Option<&'n Node<'n>> {
        self.entries.iter().find(|(name, _)| *name == key).map(|(_, node)| *node)
    }
}

impl Reader<'_> {
    /// Reads a mapping that may have the keys `known`. `of` says what it is, with its article.
    pub(crate) fn keys<'n>(
        &mut self,
        node: &'n Node<'n>,
        of: &'static str,
        known: &'static [&'static str],
    ) -> Option<Keys<'n>> {
        let accepted = || {
            let names: Vec<_> = known.iter().map(|key| format!("`{key}`")).collect();
            format!("accepted: {}", names.join(", "))
        };
        let Value::Map(map) = &node.value else {
            self.fault(Fault::new(
                span_of(node),
                format!("{of} is {}", node.value.kind()),
                "should be a mapping",
                accepted(),
            ));
            return None;
        };
        let mut entries: Vec<(&'static str, &Node<'_>)> =
            Vec::with_capacity(map.len().min(known.len()));
        for (key, value) in map {
            let Value::Text(name) = &key.value else {
                let kind = key.value.kind();
                let message = format!("a key of {of} is {kind}");
                self.fault(Fault::new(span_of(key), message, "should be a text", accepted()));
                continue;
            };
            match known.iter().find(|known| *known == name) {
                Some(known) if entries.iter().any(|(seen, _)| seen == known) => {
                    self.fault(Fault::new(
                        span_of(key),
                        format!("key `{name}` stands twice in {of}"),
                        "here again",
                        "a key stands once",
                    ));
                }
                Some(known) => entries.push((known, value)),
                None => self.fault_of(|| {
                    let meant = did_you_mean(name, known.iter().copied())
                        .map_or(String::new(), |meant| format!("did you mean `{meant}`? "));
                    Fault::new(
                        span_of(key),
                        format!("unknown key `{name}` in {of}"),
                        "not a key here",
                        meant + &accepted(),
                    )
                }),
            }
        }
        Some(Keys { of, node, entries })
    }

    /// The value of a key that must be there.
    pub(crate) fn require<'n>(
        &mut self,
        keys: &Keys<'n>,
        key: &'static str,
    ) -> Option<&'n Node<'n>> {
        let found = keys.get(key);
        if found.is_none() {
            let mut span = span_of(keys.node);
            // A block mapping's own span is empty: its first key stands for it.
            if let (true, Value::Map(map)) = (span.is_empty(), &keys.node.value) {
                span = map.first().map_or(span, |(key, _)| span_of(key));
            }
            let of = keys.of;
            let message = format!("{of} has no key `{key}`");
            self.fault(Fault::new(span, message, "missing here", format!("`{key}` is required")));
        }
        found
    }
}
