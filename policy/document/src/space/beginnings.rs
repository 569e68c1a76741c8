//! Patterns by how they begin.

use std::collections::HashMap;

/// Numbers of patterns, or of what has patterns, by the literals with which these begin, as a tree. Two patterns meet
/// only if one's beginning begins with the other's: on the way from the root to it, or below it.
#[derive(Debug)]
pub(crate) struct Beginnings<'d> {
    nodes: Vec<Node>,
    /// By the node before and the literal.
    children: HashMap<(usize, &'d str), usize>,
}

#[derive(Debug, Default)]
struct Node {
    /// What begins with what leads here and no more.
    numbers: Vec<usize>,
    next: Vec<usize>,
    /// How many numbers stand here and below.
    count: usize,
    /// How many steps it takes at most to find these.
    steps: usize,
}

const ROOT: usize = 0;

/// What is found of a beginning.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    /// How many numbers there are, of which some may be the same.
    pub(crate) count: usize,
    /// How many steps it takes at most to collect them.
    pub(crate) steps: usize,
}

impl<'d> Beginnings<'d> {
    pub(crate) fn new() -> Self {
        Self { nodes: vec![Node::default()], children: HashMap::new() }
    }

    pub(crate) fn insert(&mut self, beginning: &[&'d str], number: usize) {
        let mut at = ROOT;
        for (depth, literal) in beginning.iter().enumerate() {
            self.nodes[at].add(beginning.len() - depth);
            let new = self.nodes.len();
            let next = *self.children.entry((at, literal)).or_insert(new);
            if next == new {
                self.nodes[at].next.push(new);
                self.nodes.push(Node::default());
            }
            at = next;
        }
        self.nodes[at].add(0);
        self.nodes[at].numbers.push(number);
    }

    /// The nodes from the root to a beginning, as far as there are any, and whether it has one itself.
    fn way_to<'l>(&self, beginning: impl Iterator<Item = &'l str>) -> (Vec<&Node>, bool) {
        let mut way = vec![&self.nodes[ROOT]];
        let mut at = ROOT;
        for literal in beginning {
            let Some(next) = self.children.get(&(at, literal)) else { return (way, false) };
            at = *next;
            way.push(&self.nodes[at]);
        }
        (way, true)
    }

    /// What [`meeting`](Self::meeting) finds.
    pub(crate) fn look_up(&self, beginning: &[&str]) -> Found {
        let (mut way, whole) = self.way_to(beginning.iter().copied());
        let below = way.pop_if(|_| whole).map_or((0, 0), |node| (node.count, node.steps));
        let above = way.iter().map(|node| node.numbers.len()).sum::<usize>();
        Found { count: above + below.0, steps: way.len() + above + below.1 }
    }

    /// Adds what begins with this, and what this begins with.
    pub(crate) fn meeting(&self, beginning: &[&str], found: &mut Vec<usize>) {
        let (mut way, whole) = self.way_to(beginning.iter().copied());
        let mut below: Vec<&Node> = way.pop_if(|_| whole).into_iter().collect();
        found.extend(way.iter().flat_map(|node| &node.numbers));
        while let Some(node) = below.pop() {
            found.extend(&node.numbers);
            below.extend(node.next.iter().map(|next| &self.nodes[*next]));
        }
    }

    /// What this begins with, or is.
    pub(crate) fn before<S: AsRef<str>>(&self, whole: &[S]) -> Vec<&[usize]> {
        let (way, _) = self.way_to(whole.iter().map(AsRef::as_ref));
        way.into_iter().map(|node| node.numbers.as_slice()).collect()
    }
}

impl Node {
    /// Counts a number so many nodes below.
    const fn add(&mut self, below: usize) {
        self.count += 1;
        self.steps += 1 + below;
    }
}

#[cfg(test)]
mod tests {
    use super::Beginnings;

    #[test]
    fn beginnings_that_meet() {
        let mut all = Beginnings::new();
        let patterns: [&[&str]; 6] = [&[], &["a"], &["a", "b"], &["a", "b", "c"], &["ab"], &["b"]];
        for (number, beginning) in patterns.iter().enumerate() {
            all.insert(beginning, number);
        }
        for (beginning, expected, before) in [
            (&[][..], &[0, 1, 2, 3, 4, 5][..], &[0][..]),
            (&["a"], &[0, 1, 2, 3], &[0, 1]),
            (&["a", "b"], &[0, 1, 2, 3], &[0, 1, 2]),
            (&["a", "x"], &[0, 1], &[0, 1]),
            (&["x"], &[0], &[0]),
            (&["b"], &[0, 5], &[0, 5]),
        ] {
            let mut found = Vec::new();
            all.meeting(beginning, &mut found);
            let told = all.look_up(beginning);
            assert_eq!(told.count, found.len(), "{beginning:?}");
            assert!(told.steps >= told.count, "{beginning:?}");
            found.sort_unstable();
            assert_eq!(found, expected, "{beginning:?}");
            assert_eq!(all.before(beginning).concat(), before, "{beginning:?}");
        }
    }
}
