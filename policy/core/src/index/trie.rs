//! Patterns by segment.

use std::ops::ControlFlow;

use super::table::{Hash, Table};
use crate::pattern::Part;

const NONE: u32 = u32::MAX;
const ROOT: u32 = 0;

/// A segment of a target: octets as patterns write them.
pub(crate) trait Octets: Copy {
    /// The octets, decoded.
    fn octets(self) -> impl Iterator<Item = u8>;

    /// Whether they are these.
    fn is(self, literal: &[u8]) -> bool {
        self.octets().eq(literal.iter().copied())
    }

    /// The hash with the octets added.
    fn hashed(self, hash: Hash) -> Hash {
        self.octets().fold(hash, Hash::byte)
    }
}

impl Octets for &str {
    fn octets(self) -> impl Iterator<Item = u8> {
        self.bytes()
    }

    fn is(self, literal: &[u8]) -> bool {
        self.as_bytes() == literal
    }
}

impl Octets for &[u8] {
    fn octets(self) -> impl Iterator<Item = u8> {
        self.iter().copied()
    }

    fn is(self, literal: &[u8]) -> bool {
        self == literal
    }
}

/// A set of patterns, numbered from 0 in the order in which they came.
#[derive(Clone, Debug)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    /// Nodes by their parent and literal.
    children: Table,
    /// The literals that have no room in their node.
    long_literals: Vec<u8>,
    patterns: u32,
    /// Whether a pattern's rest may be no segment at all.
    empty_rest: bool,
}

/// How one comes here, and what may follow besides literals. [`NONE`] where nothing.
///
/// Half a cache line, and all that a literal segment looks at besides one slot of the table: what a decision costs among
/// many rules is what isn't in the cache.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct Node {
    /// The node before.
    parent: u32,
    /// The node after any one segment.
    one: u32,
    /// The pattern that takes the rest.
    rest: u32,
    /// The pattern that ends here.
    end: u32,
    /// The literal that leads here.
    literal: Literal,
}

/// A literal, here where it is short.
#[derive(Clone, Copy, Debug)]
enum Literal {
    Short {
        length: u8,
        octets: [u8; SHORT],
    },
    /// Where it starts and ends in `long_literals`.
    Long {
        bounds: [[u8; 4]; 2],
    },
}

/// The longest literal that a node has room for.
const SHORT: usize = 14;

impl Trie {
    pub(super) fn new(empty_rest: bool) -> Self {
        Self {
            nodes: vec![Node::EMPTY],
            children: Table::default(),
            long_literals: Vec::new(),
            patterns: 0,
            empty_rest,
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.patterns == 0
    }

    /// Adds a pattern, unless it is there: its number.
    pub(super) fn insert<'p>(&mut self, parts: impl Iterator<Item = Part<'p>>) -> u32 {
        let mut node = ROOT;
        let mut rest = false;
        for part in parts {
            match part {
                Part::Literal(literal) => node = self.child_or_new(node, literal.as_bytes()),
                Part::One => node = self.one_or_new(node),
                Part::Rest => rest = true,
            }
        }
        let next = self.patterns;
        let Some(last) = self.nodes.get_mut(node as usize) else { return NONE };
        let place = if rest { &mut last.rest } else { &mut last.end };
        if *place == NONE {
            *place = next;
            self.patterns = next.saturating_add(1);
        }
        *place
    }

    /// Tells the numbers of all patterns that match, the heaviest first, until `found` breaks.
    pub(super) fn each_match<T: Octets, B>(
        &self,
        segments: impl Iterator<Item = T> + Clone,
        found: &mut impl FnMut(u32) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        self.walk(ROOT, segments, found)
    }

    /// As deep as the deepest pattern at most; the lengths of patterns are bounded.
    fn walk<T: Octets, B>(
        &self,
        node: u32,
        mut segments: impl Iterator<Item = T> + Clone,
        found: &mut impl FnMut(u32) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let Node { one, rest, end, .. } = self.node(node);
        let mut tell = |pattern| match pattern {
            NONE => ControlFlow::Continue(()),
            pattern => found(pattern),
        };
        let Some(segment) = segments.next() else {
            tell(end)?;
            return if self.empty_rest { tell(rest) } else { ControlFlow::Continue(()) };
        };
        if let Some(child) = self.child(node, segment) {
            self.walk(child, segments.clone(), found)?;
        }
        if one != NONE {
            self.walk(one, segments, found)?;
        }
        if rest == NONE { ControlFlow::Continue(()) } else { found(rest) }
    }

    fn child<T: Octets>(&self, node: u32, segment: T) -> Option<u32> {
        self.children.find(hash(node, segment), |child| {
            let child = self.nodes.get(child as usize);
            child.is_some_and(|child| child.parent == node && segment.is(self.octets_of(child)))
        })
    }

    fn child_or_new(&mut self, node: u32, literal: &[u8]) -> u32 {
        if let Some(child) = self.child(node, literal) {
            return child;
        }
        let literal_here = self.literal(literal);
        let child = self.new_node(Node { parent: node, literal: literal_here, ..Node::EMPTY });
        self.children.insert(hash(node, literal), child);
        child
    }

    fn one_or_new(&mut self, node: u32) -> u32 {
        let one = self.node(node).one;
        if one != NONE {
            return one;
        }
        let new = self.new_node(Node::EMPTY);
        if let Some(node) = self.nodes.get_mut(node as usize) {
            node.one = new;
        }
        new
    }

    fn new_node(&mut self, node: Node) -> u32 {
        self.nodes.push(node);
        super::number(self.nodes.len().saturating_sub(1))
    }

    fn node(&self, node: u32) -> Node {
        self.nodes.get(node as usize).copied().unwrap_or(Node::EMPTY)
    }

    /// A literal, kept.
    fn literal(&mut self, literal: &[u8]) -> Literal {
        let mut octets = [0; SHORT];
        if let (Some(room), Ok(length)) =
            (octets.get_mut(..literal.len()), u8::try_from(literal.len()))
        {
            room.copy_from_slice(literal);
            return Literal::Short { length, octets };
        }
        let start = super::number(self.long_literals.len());
        self.long_literals.extend_from_slice(literal);
        let end = super::number(self.long_literals.len());
        Literal::Long { bounds: [start, end].map(u32::to_ne_bytes) }
    }

    /// The literal that leads to a node.
    fn octets_of<'a>(&'a self, node: &'a Node) -> &'a [u8] {
        let found = match &node.literal {
            Literal::Short { length, octets } => octets.get(..usize::from(*length)),
            Literal::Long { bounds } => {
                let [start, end] = bounds.map(|bound| u32::from_ne_bytes(bound) as usize);
                self.long_literals.get(start..end)
            }
        };
        found.unwrap_or_default()
    }
}

impl Default for Trie {
    fn default() -> Self {
        Self::new(false)
    }
}

impl Node {
    /// The root, or what comes after any one segment.
    const EMPTY: Self = Self {
        parent: NONE,
        one: NONE,
        rest: NONE,
        end: NONE,
        literal: Literal::Short { length: 0, octets: [0; SHORT] },
    };
}

const _: () = assert!(size_of::<Node>() == 32, "half a cache line");

fn hash(node: u32, segment: impl Octets) -> u32 {
    segment.hashed(Hash::new()).number(node).finish()
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::Trie;
    use crate::pattern::PathPattern;

    /// The numbers of the patterns that match, in order.
    fn matches(trie: &Trie, path: &str) -> Vec<u32> {
        let mut found = Vec::new();
        let segments = path.split('/').skip(1).filter(|segment| !segment.is_empty());
        let _ = trie.each_match(segments, &mut |pattern| {
            found.push(pattern);
            ControlFlow::<()>::Continue(())
        });
        found
    }

    #[test]
    fn the_heaviest_pattern_comes_first() {
        let mut trie = Trie::new(true);
        let patterns = ["/**", "/a/**", "/a", "/*", "/a/*", "/*/b", "/a/b", "/", "/a/b/c"];
        for (number, pattern) in (0..).zip(patterns) {
            let pattern = PathPattern::parse(pattern).unwrap();
            assert_eq!(trie.insert(pattern.parts().unwrap()), number);
            assert_eq!(trie.insert(pattern.parts().unwrap()), number);
        }
        for (path, expected) in [
            ("/", &["/", "/**"][..]),
            ("/a", &["/a", "/a/**", "/*", "/**"]),
            ("/x", &["/*", "/**"]),
            ("/a/b", &["/a/b", "/a/*", "/a/**", "/*/b", "/**"]),
            ("/a/x", &["/a/*", "/a/**", "/**"]),
            ("/x/b", &["/*/b", "/**"]),
            ("/a/b/c", &["/a/b/c", "/a/**", "/**"]),
            ("/a/b/c/d", &["/a/**", "/**"]),
        ] {
            let found: Vec<_> =
                matches(&trie, path).into_iter().map(|found| patterns[found as usize]).collect();
            assert_eq!(found, expected, "{path}");
        }
    }
}
