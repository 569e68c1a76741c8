//! YAML as nodes that know where they stand, so that every fault has its span.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use crate::fault::Fault;
use crate::scalar::plain;

/// Largest document in bytes. A hundred thousand rules fit.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// Deepest nesting. A policy needs six; sixty overflow the stack of a thread in a build without optimization.
const MAX_DEPTH: usize = 16;

/// How many nodes aliases may stand for. A list of callers that all rules share stays far below; a bomb
/// doesn't.
const MAX_COPIES: usize = 1_000_000;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node<'t> {
    pub(crate) value: Value<'t>,
    span: Range<usize>,
}

/// A YAML value. Duplicate keys are kept: they are faults, to be told with all others.
#[derive(Clone, Debug)]
pub(crate) enum Value<'t> {
    Null,
    Boolean(bool),
    /// Rare, so it shall not make all others larger.
    Integer(Box<i128>),
    Float,
    Text(Cow<'t, str>),
    List(Vec<Node<'t>>),
    Map(Vec<(Node<'t>, Node<'t>)>),
}

impl Value<'_> {
    /// What this is, with its article.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "empty",
            Self::Boolean(_) => "a boolean",
            Self::Integer(_) => "an integer",
            Self::Float => "a number with a fraction",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// Where a node stands, in bytes. What an alias stands for stands where it is written.
pub(crate) fn span_of(node: &Node<'_>) -> Range<usize> {
    node.span.clone()
}

/// Reads a whole document.
///
/// # Errors
/// The one fault after which nothing more can be read.
pub(crate) fn parse(text: &str) -> Result<Node<'_>, Box<Fault>> {
    if text.len() > MAX_BYTES {
        let found = text.len();
        return Err(Box::new(Fault::new(
            0..0,
            format!("the document has {found} bytes"),
            "too much to read",
            format!("a policy has at most {MAX_BYTES} bytes"),
        )));
    }
    Tree::new(text).document()
}

/// The fault after which nothing more can be read.
fn unreadable(span: Range<usize>, message: &str) -> Box<Fault> {
    Box::new(Fault::new(
        span,
        format!("the document is no YAML that can be read: {message}"),
        "reading stopped here",
        "other faults can be found once this one is repaired",
    ))
}

/// Makes a tree of the parser's events.
struct Tree<'t> {
    text: &'t str,
    events: Parser<'t, StrInput<'t>>,
    /// What anchors stand for, by the parser's numbers.
    anchored: HashMap<usize, Node<'t>>,
    copies: usize,
    /// The items of the lists, and the pairs of the mappings, that have begun: each takes its own off when it ends,
    /// so none has room for more than it holds.
    items: Vec<Node<'t>>,
    pairs: Vec<(Node<'t>, Node<'t>)>,
}

impl<'t> Tree<'t> {
    fn new(text: &'t str) -> Self {
        let options = granit_parser::options! { emit_comments: false };
        let events = Parser::new_from_str_with_options(text, options);
        let (items, pairs) = (Vec::new(), Vec::new());
        Self { text, events, anchored: HashMap::new(), copies: 0, items, pairs }
    }

    /// The one document of the text.
    fn document(mut self) -> Result<Node<'t>, Box<Fault>> {
        let mut root = None;
        loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentEnd, _) => {}
                (Event::StreamEnd, _) => break,
                (Event::DocumentStart(..), span) if root.is_some() => {
                    return Err(unreadable(span, "multiple YAML documents, and one is read"));
                }
                (Event::DocumentStart(..), _) => {
                    let (event, span) = self.next()?;
                    root = Some(self.node(event, span, 0)?);
                }
                (_, span) => return Err(unreadable(span, "something outside of the document")),
            }
        }
        Ok(root.unwrap_or(Node { value: Value::Null, span: 0..0 }))
    }

    fn next(&mut self) -> Result<(Event<'t>, Range<usize>), Box<Fault>> {
        match self.events.next_event() {
            Some(Ok((event, span))) => Ok((event, byte_span(&span))),
            Some(Err(error)) => Err(self.broken(&error)),
            None => Err(unreadable(self.text.len()..self.text.len(), "it ends early")),
        }
    }

    /// What the parser says, at its place.
    fn broken(&self, error: &ScanError) -> Box<Fault> {
        let at = error.marker().byte_offset().unwrap_or_default();
        let length =
            self.text.get(at..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
        unreadable(at..at + length, &error.info())
    }

    /// The node that begins with an event.
    fn node(
        &mut self,
        event: Event<'t>,
        span: Range<usize>,
        depth: usize,
    ) -> Result<Node<'t>, Box<Fault>> {
        if event.tag().is_some() {
            return Err(unreadable(span, "a value has a tag, and a policy needs none"));
        }
        if depth > MAX_DEPTH {
            return Err(unreadable(span, "it is nested too deep"));
        }
        let (value, anchor) = match event {
            Event::Scalar(text, ScalarStyle::Plain, anchor, _) => (plain(text), anchor),
            Event::Scalar(text, _, anchor, _) => (Value::Text(text), anchor),
            Event::SequenceStart(_, anchor, _) => (self.list(depth)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.map(depth)?, anchor),
            Event::Alias(anchor) => {
                let Some(node) = self.anchored.remove(&anchor) else {
                    return Err(unreadable(span, "an alias stands inside of what it stands for"));
                };
                let copy = self.copy(&node, &span, depth);
                self.anchored.insert(anchor, node);
                return copy;
            }
            _ => return Err(unreadable(span, "a value is missing")),
        };
        let node = Node { value, span };
        if anchor != 0 {
            let copy = self.copy(&node, &node.span, depth)?;
            self.anchored.insert(anchor, copy);
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Value<'t>, Box<Fault>> {
        let first = self.items.len();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Value::List(self.items.split_off(first)));
            }
            let item = self.node(event, span, depth + 1)?;
            self.items.push(item);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value<'t>, Box<Fault>> {
        let first = self.pairs.len();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(Value::Map(self.pairs.split_off(first)));
            }
            if matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<") {
                return Err(unreadable(span, "`<<` is a merge key, and a policy has none"));
            }
            let key = self.node(event, span, depth + 1)?;
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            self.pairs.push((key, value));
        }
    }

    /// A copy of what an anchor stands for, wanted at `at`.
    fn copy(
        &mut self,
        node: &Node<'t>,
        at: &Range<usize>,
        depth: usize,
    ) -> Result<Node<'t>, Box<Fault>> {
        self.copies += 1;
        if self.copies > MAX_COPIES {
            return Err(unreadable(at.clone(), "its aliases stand for too much"));
        }
        if depth > MAX_DEPTH {
            return Err(unreadable(at.clone(), "it is nested too deep"));
        }
        let mut copy = |node| self.copy(node, at, depth + 1);
        let value = match &node.value {
            Value::List(list) => Value::List(list.iter().map(copy).collect::<Result<_, _>>()?),
            Value::Map(map) => {
                let mut pairs = Vec::with_capacity(map.len());
                for (key, value) in map {
                    pairs.push((copy(key)?, copy(value)?));
                }
                Value::Map(pairs)
            }
            scalar => scalar.clone(),
        };
        Ok(Node { value, span: node.span.clone() })
    }
}

/// Of a text all byte offsets are known.
fn byte_span(span: &Span) -> Range<usize> {
    span.byte_range().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Value, parse};

    /// What aliases stand for is what a text without them says, and faults stand where it is written.
    #[test]
    fn aliases() {
        let text = "a: &a [x, 5]\nb: [*a, &b w, *b]\n";
        let root = parse(text).unwrap();
        let Value::Map(map) = &root.value else { panic!("{root:?}") };
        let Value::List(b) = &map[1].1.value else { panic!("{root:?}") };
        let Value::List(a) = &b[0].value else { panic!("{root:?}") };
        assert!(
            matches!((&a[0].value, &a[1].value), (Value::Text(x), Value::Integer(n)) if x == "x" && **n == 5)
        );
        assert_eq!(&text[a[1].span.clone()], "5");
        assert!(matches!(&b[2].value, Value::Text(w) if w == "w"));
    }

    #[test]
    fn what_cannot_be_read() {
        for (text, place, message) in [
            ("a: &a [*a]", "*a", "inside of what it stands for"),
            ("a: *b", "*", "nknown anchor"),
            ("a: !!str 5", "5", "a tag"),
            ("a: !x {}", "{", "a tag"),
            ("{ <<: a }", "<<", "merge key"),
            ("a\n---\nb", "---", "multiple YAML documents"),
            ("[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]", "[", "nested too deep"),
            ("a: 'b", "'", ""),
            ("é: [", "[", "unclosed bracket"),
        ] {
            let fault = parse(text).unwrap_err();
            assert!(fault.message.contains(message), "{text}: {fault}");
            assert!(text[fault.at.0.clone()].starts_with(place), "{text}: {fault:?}");
        }
    }
}
