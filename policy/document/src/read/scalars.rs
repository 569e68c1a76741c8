//! Single values, and lists of them.

use std::fmt::Display;

use super::Reader;
use crate::fault::{Fault, did_you_mean};
use crate::node::{Node, Value, span_of};

impl Reader<'_> {
    /// A text. `what` names the key.
    pub(crate) fn text<'n>(&mut self, node: &'n Node<'n>, what: &str) -> Option<&'n str> {
        match &node.value {
            Value::Text(text) => Some(text),
            Value::Integer(_) | Value::Float | Value::Boolean(_) => {
                let found = self.source(node);
                let help = format!("a text is accepted: write `\"{found}\"`");
                self.wrong_kind(node, what, "a text", help);
                None
            }
            Value::Null | Value::List(_) | Value::Map(_) => {
                self.wrong_kind(node, what, "a text", "a text is accepted");
                None
            }
        }
    }

    /// A text, or a number or boolean as it is written.
    pub(crate) fn plain(&mut self, node: &Node<'_>, what: &str) -> Option<String> {
        match &node.value {
            Value::Integer(_) | Value::Float | Value::Boolean(_) => {
                Some(self.source(node).to_owned())
            }
            _ => self.text(node, what).map(str::to_owned),
        }
    }

    /// A text that is parsed.
    pub(crate) fn parsed<T, E: Display>(
        &mut self,
        node: &Node<'_>,
        what: &str,
        parse: impl FnOnce(String) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(node, what)?;
        match parse(text.to_owned()) {
            Ok(value) => Some(value),
            Err(error) => {
                let message = format!("`{what}` is `{}`", text.escape_debug());
                self.fault(Fault::new(span_of(node), message, "not accepted", error.to_string()));
                None
            }
        }
    }

    /// One of some words.
    pub(crate) fn word<T: Copy>(
        &mut self,
        node: &Node<'_>,
        what: &str,
        words: impl IntoIterator<Item = (&'static str, T)> + Clone,
    ) -> Option<T> {
        let text = self.text(node, what)?;
        if let Some((_, value)) = words.clone().into_iter().find(|(word, _)| *word == text) {
            return Some(value);
        }
        self.fault_of(|| {
            let words: Vec<&str> = words.into_iter().map(|(word, _)| word).collect();
            let meant = did_you_mean(text, words.iter().copied())
                .map_or(String::new(), |meant| format!("did you mean `{meant}`? "));
            let accepted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
            Fault::new(
                span_of(node),
                format!("unknown {what} `{}`", text.escape_debug()),
                "not accepted",
                format!("{meant}accepted: {}", accepted.join(", ")),
            )
        });
        None
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&mut self, node: &Node<'_>, what: &str) -> Option<bool> {
        if let Value::Boolean(value) = node.value {
            return Some(value);
        }
        self.wrong_kind(node, what, "a boolean", "accepted: `true`, `false`");
        None
    }

    /// A whole number from `least` to `most`.
    pub(crate) fn integer(
        &mut self,
        node: &Node<'_>,
        what: &str,
        least: u64,
        most: u64,
    ) -> Option<u64> {
        let Value::Integer(found) = &node.value else {
            self.wrong_kind(node, what, "a whole number", range(least, most));
            return None;
        };
        let value = u64::try_from(**found).ok().filter(|value| (least..=most).contains(value));
        if value.is_none() {
            let message = format!("`{what}` is {found}");
            self.fault(Fault::new(span_of(node), message, "out of range", range(least, most)));
        }
        value
    }

    /// A span of time in seconds: a whole number and `s`, `m`, `h` or `d`.
    pub(crate) fn duration(&mut self, node: &Node<'_>, what: &str, least: u64) -> Option<u64> {
        let text = self.plain(node, what)?;
        let unit = |unit: char| match unit {
            's' => Some(1),
            'm' => Some(60),
            'h' => Some(60 * 60),
            'd' => Some(24 * 60 * 60),
            _ => None,
        };
        let seconds = text.chars().last().and_then(unit).and_then(|unit| {
            let number = text.get(..text.len() - 1)?;
            let digits = number.bytes().all(|b| b.is_ascii_digit());
            number.parse::<u64>().ok().filter(|_| digits)?.checked_mul(unit)
        });
        // Beyond this no certificate and no session lives, and sums with clocks stay small.
        let most = 10 * 365 * 24 * 60 * 60;
        let accepted = seconds.filter(|seconds| (least..=most).contains(seconds));
        if accepted.is_none() {
            self.fault(Fault::new(
                span_of(node),
                format!("`{what}` is `{}`", text.escape_debug()),
                "not accepted",
                format!("a whole number and `s`, `m`, `h` or `d` is accepted, from {least}s to 3650d, such as `60s`"),
            ));
        }
        accepted
    }

    /// A list that isn't empty and has no duplicates.
    pub(crate) fn list<T: Ord>(
        &mut self,
        node: &Node<'_>,
        what: &str,
        mut item: impl FnMut(&mut Self, &Node<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Value::List(items) = &node.value else {
            let help = match &node.value {
                Value::Text(text) => format!("a list is accepted: write `[{text}]`"),
                _ => "a list is accepted".to_owned(),
            };
            self.wrong_kind(node, what, "a list", help);
            return None;
        };
        if items.is_empty() {
            self.fault(Fault::new(
                span_of(node),
                format!("`{what}` is an empty list"),
                "says nothing",
                "name at least one, or leave the key out",
            ));
            return None;
        }
        if let [only] = items.as_slice() {
            return Some(item(self, only).into_iter().collect());
        }
        let mut list = Vec::with_capacity(items.len());
        for node in items {
            list.extend(item(self, node).map(|value| (value, node)));
        }
        // Equal ones stand together then, the first of them first: no matter how long the list is.
        let mut sorted: Vec<&(T, &Node<'_>)> = list.iter().collect();
        sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
        for pair in sorted.windows(2) {
            if let [(first, _), (again, node)] = pair
                && first == again
            {
                let message = format!("`{what}` names `{}` twice", self.source(node));
                self.fault(Fault::new(span_of(node), message, "here again", "name each once"));
            }
        }
        Some(list.into_iter().map(|(value, _)| value).collect())
    }

    /// What the document says at a node.
    pub(crate) fn source(&self, node: &Node<'_>) -> &str {
        self.text.get(span_of(node)).unwrap_or_default()
    }

    /// Notes that a value is of another kind than accepted.
    pub(crate) fn wrong_kind(
        &mut self,
        node: &Node<'_>,
        what: &str,
        should: &str,
        help: impl Into<String>,
    ) {
        let message = format!("`{what}` is {}", node.value.kind());
        self.fault(Fault::new(span_of(node), message, format!("should be {should}"), help));
    }
}

/// What whole numbers are accepted.
fn range(least: u64, most: u64) -> String {
    if least == most {
        format!("accepted: {least}")
    } else {
        format!("accepted: {least} to {most}")
    }
}
