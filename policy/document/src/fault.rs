//! What is wrong with a document, told to the one who wrote it.

use std::fmt;
use std::ops::Range;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};

/// One fault: what was found and where, what would be accepted, and a likely repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The thing and the value found.
    pub message: String,
    /// Where it stands, in bytes of the document, and what is said there.
    pub at: (Range<usize>, String),
    /// Another place that the fault is about.
    pub also: Option<(Range<usize>, String)>,
    /// What would be accepted, and a likely repair.
    pub help: String,
}

impl Fault {
    /// A fault at one place.
    pub(crate) fn new(
        span: Range<usize>,
        message: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self { message: message.into(), at: (span, label.into()), also: None, help: help.into() }
    }

    /// Adds another place.
    pub(crate) fn also(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.also = Some((span, label.into()));
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl Diagnostic for Fault {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.help))
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let (span, text) = &self.at;
        let primary = LabeledSpan::new_primary_with_span(Some(text.clone()), span.clone());
        let also = self
            .also
            .as_ref()
            .map(|(span, text)| LabeledSpan::new_with_span(Some(text.clone()), span.clone()));
        Some(Box::new(std::iter::once(primary).chain(also)))
    }
}

/// All faults of one document, in its order. Never empty.
#[derive(Debug)]
pub struct Faults {
    source: NamedSource<String>,
    faults: Vec<Fault>,
}

impl Faults {
    pub(crate) fn new(name: &str, text: &str, mut faults: Vec<Fault>) -> Self {
        faults.sort_by_key(|fault| fault.at.0.start);
        Self { source: NamedSource::new(name, text.to_owned()).with_language("yaml"), faults }
    }

    /// The faults, in the order of the document.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.faults.iter()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.faults.len()
    }

    /// The line and the column at which a fault stands, both counted from 1.
    pub fn position(&self, fault: &Fault) -> (usize, usize) {
        position(self.source.inner(), fault.at.0.start)
    }

    /// Each fault in one line, `NAME:LINE:COLUMN: fault; help`, for logs and editors.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.faults.iter().map(|fault| {
            let (line, column) = self.position(fault);
            format!("{}:{line}:{column}: {}; {}", self.source.name(), fault.message, fault.help)
        })
    }
}

/// The line and the column of a byte, both counted from 1.
pub(crate) fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let start_of_line = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(start_of_line..).unwrap_or_default().chars().count();
    (before.matches('\n').count() + 1, column + 1)
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, name) = (self.faults.len(), self.source.name());
        write!(f, "{count} fault{} in {name}", if count == 1 { "" } else { "s" })
    }
}

impl std::error::Error for Faults {}

impl Diagnostic for Faults {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.faults.iter().map(|fault| fault as &dyn Diagnostic)))
    }
}

/// The one of `accepted` that `found` is most like, if any is like enough to be meant.
pub(crate) fn did_you_mean<'a>(
    found: &str,
    accepted: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let lower = found.to_lowercase();
    accepted
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= name.chars().count().div_ceil(3))
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::{did_you_mean, position};

    #[test]
    fn likely_repairs() {
        let keys = ["methods", "paths", "from", "to", "effect"];
        for (found, expected) in [
            ("method", Some("methods")),
            ("mehtods", Some("methods")),
            ("Paths", Some("paths")),
            ("form", Some("from")),
            ("tto", Some("to")),
            ("colour", None),
        ] {
            assert_eq!(did_you_mean(found, keys), expected, "{found}");
        }
    }

    #[test]
    fn positions() {
        let text = "a\né: b\n";
        assert_eq!(position(text, 0), (1, 1));
        assert_eq!(position(text, 2), (2, 1));
        assert_eq!(position(text, 6), (2, 4));
        assert_eq!(position(text, 99), (3, 1));
    }
}
