//! What is wrong with a document, told to the one who wrote it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, Severity, SourceCode};

use crate::source::{Place, Source};

/// Longest message in bytes. Where it stands is shown anyway.
const LONGEST_MESSAGE: usize = 1000;

/// Most faults that are told: whoever meets more has given something else for a policy.
pub(crate) const MAX_TOLD: usize = 1000;

/// Faults that are counted. A document with as many is read no further.
pub(crate) const MOST_COUNTED: usize = 100_000;

/// One fault: what was found and where, what would be accepted, and a likely repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The thing and the value found.
    pub message: String,
    /// Where it stands, in bytes of its text, and what is said there.
    pub at: (Range<usize>, String),
    /// The text in which it stands.
    pub(crate) file: usize,
    /// Another place that the fault is about.
    pub(crate) also: Option<(Place, String)>,
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
        Self {
            message: shortened(message.into()),
            at: (span, label.into()),
            file: 0,
            also: None,
            help: help.into(),
        }
    }

    /// A fault of something read before.
    pub(crate) fn at_place(
        place: &Place,
        message: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self { file: place.file, ..Self::new(place.span.clone(), message, label, help) }
    }

    /// Adds another place.
    pub(crate) fn also(mut self, place: &Place, label: impl Into<String>) -> Self {
        self.also = Some((place.clone(), label.into()));
        self
    }

    /// Labels show one piece of one text: a place elsewhere is told in words.
    fn tell_other_places(&mut self, sources: &[Source]) {
        let elsewhere = |place: &Place| {
            place.file != self.file || sources[self.file].parts(&place.span, &self.at.0)
        };
        if let Some((place, label)) = self.also.take_if(|(place, _)| elsewhere(place)) {
            let source = &sources[place.file];
            let (line, column) = source.position(place.span.start);
            self.help = format!("{} ({label}: {}:{line}:{column})", self.help, source.name());
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

/// A fault with the text that it stands in.
#[derive(Debug)]
pub struct Located {
    fault: Fault,
    source: Source,
    severity: Option<Severity>,
}

impl Located {
    pub(crate) fn new(mut fault: Fault, sources: &[Source]) -> Self {
        fault.tell_other_places(sources);
        Self { source: Arc::clone(&sources[fault.file]), fault, severity: None }
    }

    /// The same, told as a warning.
    #[must_use]
    pub fn as_warning(self) -> Self {
        Self { severity: Some(Severity::Warning), ..self }
    }

    /// The name of the text, the line and the column, both counted from 1.
    pub fn position(&self) -> (&str, usize, usize) {
        let (line, column) = self.source.position(self.fault.at.0.start);
        (self.source.name(), line, column)
    }
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)
    }
}

impl std::error::Error for Located {}

impl Diagnostic for Located {
    fn severity(&self) -> Option<Severity> {
        self.severity
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&*self.source)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.fault.help))
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let shown = |span| self.source.shown(span);
        let (span, text) = &self.fault.at;
        let primary = LabeledSpan::new_primary_with_span(Some(text.clone()), shown(span));
        let also = self.fault.also.as_ref().map(|(place, text)| {
            LabeledSpan::new_with_span(Some(text.clone()), shown(&place.span))
        });
        Some(Box::new(std::iter::once(primary).chain(also)))
    }
}

/// All faults of a policy, in the order of its texts; of thousands the first. Never empty.
#[derive(Debug)]
pub struct Faults {
    name: String,
    told: Vec<Located>,
    untold: Untold,
}

/// The faults that are counted and not told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Untold {
    pub(crate) count: usize,
    /// Whether there may be more than were counted.
    pub(crate) or_more: bool,
}

impl Faults {
    pub(crate) fn new(
        name: &str,
        sources: &[Source],
        mut faults: Vec<Fault>,
        untold: Untold,
    ) -> Self {
        faults.sort_by_key(|fault| (fault.file, fault.at.0.start));
        let located = faults.into_iter().map(|fault| Located::new(fault, sources));
        Self { name: name.to_owned(), told: located.collect(), untold }
    }

    /// The faults, in the order of the texts.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.told.iter().map(|located| &located.fault)
    }

    /// How many are told.
    pub fn count(&self) -> usize {
        self.told.len()
    }

    /// Each fault with the name of its text, its line and its column, both counted from 1.
    pub fn positions(&self) -> impl Iterator<Item = (&Fault, &str, usize, usize)> {
        self.told.iter().map(|located| {
            let (name, line, column) = located.position();
            (&located.fault, name, line, column)
        })
    }

    /// Each fault in one line, `NAME:LINE:COLUMN: fault; help`, for logs and editors.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.positions().map(|(fault, name, line, column)| {
            format!("{name}:{line}:{column}: {}; {}", fault.message, fault.help)
        })
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (told, name) = (self.told.len(), &self.name);
        let Untold { count: more, or_more } = self.untold;
        match (told, more) {
            (_, 0) if or_more => write!(f, "{told} faults in {name}, and perhaps more"),
            (1, 0) => write!(f, "1 fault in {name}"),
            (_, 0) => write!(f, "{told} faults in {name}"),
            (_, more) if or_more || told + more >= MOST_COUNTED => {
                write!(f, "{told} faults in {name}, and at least {more} more")
            }
            (_, 1) => write!(f, "{told} faults in {name}, and 1 more fault"),
            (_, more) => write!(f, "{told} faults in {name}, and {more} more faults"),
        }
    }
}

impl std::error::Error for Faults {}

impl Diagnostic for Faults {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.told.iter().map(|fault| fault as &dyn Diagnostic)))
    }
}

/// A message that quotes a text of any length.
pub(crate) fn shortened(mut message: String) -> String {
    if message.len() > LONGEST_MESSAGE {
        message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
        message.push('…');
    }
    message
}

/// The one of `accepted` that `found` is most like, if any is like enough to be meant.
pub(crate) fn did_you_mean<'a>(
    found: &str,
    accepted: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let lower = found.to_lowercase();
    let length = lower.chars().count();
    let most = |name: &str| name.chars().count().div_ceil(3);
    accepted
        .into_iter()
        // As many characters too many or too few are as many differences.
        .filter(|name| name.chars().count().abs_diff(length) <= most(name))
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= most(name))
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::did_you_mean;

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
}
