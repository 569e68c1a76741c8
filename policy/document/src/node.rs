//! YAML as nodes that know where they stand, so that every fault has its span.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Location, MergeKeyPolicy, Spanned};

use crate::fault::Fault;

/// Largest document in bytes. A hundred thousand rules fit.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// Deepest nesting. A policy needs six; sixty overflow the stack of a thread in a build without optimization.
const MAX_DEPTH: usize = 16;

/// A value and where it stands.
pub(crate) type Node = Spanned<Value>;

/// A YAML value. Duplicate keys are kept: they are faults, to be told with all others.
#[derive(Debug)]
pub(crate) enum Value {
    Null,
    Boolean(bool),
    Integer(i128),
    Float,
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl Value {
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

/// Where a node stands, in bytes.
pub(crate) fn span_of(node: &Node) -> Range<usize> {
    // Byte offsets are always known of text input.
    byte_span(node.referenced).unwrap_or_default()
}

fn byte_span(location: Location) -> Option<Range<usize>> {
    let span = location.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let length = usize::try_from(span.byte_len()?).ok()?;
    Some(start..start.checked_add(length)?)
}

/// Reads a whole document.
///
/// # Errors
/// The one fault after which nothing more can be read.
pub(crate) fn parse(text: &str) -> Result<Node, Box<Fault>> {
    if text.len() > MAX_BYTES {
        let found = text.len();
        return Err(Box::new(Fault::new(
            0..0,
            format!("the document has {found} bytes"),
            "too much to read",
            format!("a policy has at most {MAX_BYTES} bytes"),
        )));
    }
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::Error,
        emit_comments: false,
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH },
    };
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| Box::new(unreadable(text, &error)))
}

/// What the YAML parser says, at its place.
fn unreadable(text: &str, error: &serde_saphyr::Error) -> Fault {
    let location = error.location();
    // Faults of syntax are located in characters only.
    let in_characters = |location: Location| {
        let at = usize::try_from(location.span().offset()).ok()?;
        let (start, found) = text.char_indices().nth(at)?;
        Some(start..start + found.len_utf8())
    };
    let span =
        location.and_then(|location| byte_span(location).or_else(|| in_characters(location)));
    let message = error.without_snippet().to_string();
    // The place is shown by the span.
    let message = message.split(" at line ").next().unwrap_or_default();
    Fault::new(
        span.unwrap_or_default(),
        format!("the document is no YAML that can be read: {message}"),
        "reading stopped here",
        "other faults can be found once this one is repaired",
    )
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, a boolean, a list or a mapping")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Float)
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Value::Map(map))
    }
}
