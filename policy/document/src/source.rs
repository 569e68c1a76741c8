//! The texts of a policy, and where in them something stands.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use miette::{MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

/// Where something stands: in which of the texts, and its bytes there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub(crate) file: usize,
    pub(crate) span: Range<usize>,
}

/// Bytes of a text that are shown around a place, lines before and after it included.
const MOST_SHOWN: usize = 4000;

/// Where that isn't enough, bytes of the place's line that are shown before it and from it on.
const SHOWN_OF_LINE: [usize; 2] = [40, 80];

/// One text of a policy, shared by all that is told about it.
pub(crate) type Source = Arc<Text>;

/// A text that knows where its lines begin: thousands of faults are told of large ones.
pub(crate) struct Text {
    name: String,
    content: String,
    /// The first byte of each line.
    lines: Vec<usize>,
}

impl Text {
    /// A text, and what faults call it.
    pub(crate) fn shared(name: &str, text: String) -> Source {
        let ends = text.match_indices('\n').map(|(newline, _)| newline + 1);
        let lines = std::iter::once(0).chain(ends).collect();
        Arc::new(Self { name: name.to_owned(), content: text, lines })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn text(&self) -> &str {
        &self.content
    }

    /// The line and the column of a byte, both counted from 1.
    pub(crate) fn position(&self, at: usize) -> (usize, usize) {
        let at = at.min(self.content.len());
        let line = self.line(at);
        let before = self.content.get(self.lines[line]..at).unwrap_or_default();
        (line + 1, before.chars().count() + 1)
    }

    /// Whether two places are too far from each other to be shown in one piece of the text, and too near for two.
    pub(crate) fn parts(&self, a: &Range<usize>, b: &Range<usize>) -> bool {
        let lines = self.line(a.start).abs_diff(self.line(b.start));
        lines < 5 && a.start.abs_diff(b.start) > MOST_SHOWN
    }

    /// As much of a span as is shown.
    pub(crate) fn shown(&self, span: &Range<usize>) -> Range<usize> {
        let end = if span.len() > MOST_SHOWN { span.start + SHOWN_OF_LINE[1] } else { span.end };
        span.start..self.content.floor_char_boundary(end)
    }

    /// The part of a long line that is around a byte.
    fn part_of_line(&self, at: usize) -> &str {
        let line = self.line(at);
        let end = self.lines.get(line + 1).map_or(self.content.len(), |next| next - 1);
        let [before, after] = SHOWN_OF_LINE;
        let first = at.saturating_sub(before).max(self.lines[line]);
        let start = self.content.ceil_char_boundary(first);
        let end = self.content.floor_char_boundary(end.min(at + after));
        self.content.get(start..end).unwrap_or_default()
    }

    /// The line of a byte, counted from 0.
    fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|start| *start <= at) - 1
    }
}

/// Without the text: it may be long.
impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Text").field("name", &self.name).finish_non_exhaustive()
    }
}

/// As of any text, but read from the lines around the span and not from the text's beginning.
impl SourceCode for Text {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        // One line more than is wanted: before it an empty span would be read as one of a byte.
        let first = self.line(span.offset()).saturating_sub(lines_before + 1);
        let start = self.lines[first];
        let near = self.content.as_bytes().get(start..).ok_or(MietteError::OutOfBounds)?;
        let within = SourceSpan::new((span.offset() - start).into(), span.len());
        let found = near.read_span(&within, lines_before, lines_after)?;
        if lines_before > 0 && found.data().len() > MOST_SHOWN {
            let part = self.part_of_line(span.offset());
            let at = part.as_ptr().addr() - self.content.as_ptr().addr();
            let line = self.line(span.offset());
            let contents = MietteSpanContents::new_named(
                self.name.clone(),
                part.as_bytes(),
                SourceSpan::new(at.into(), part.len()),
                line,
                0,
                line + 1,
            );
            return Ok(Box::new(contents));
        }
        let contents = MietteSpanContents::new_named(
            self.name.clone(),
            found.data(),
            SourceSpan::new((found.span().offset() + start).into(), found.span().len()),
            found.line() + first,
            found.column(),
            found.line_count() + first,
        );
        Ok(Box::new(contents.with_language("yaml")))
    }
}

#[cfg(test)]
mod tests {
    use miette::{SourceCode, SourceSpan, SpanContents};

    use super::Text;

    #[test]
    fn positions() {
        let text = Text::shared("t", "a\né: b\n".to_owned());
        assert_eq!(text.position(0), (1, 1));
        assert_eq!(text.position(2), (2, 1));
        assert_eq!(text.position(6), (2, 4));
        assert_eq!(text.position(99), (3, 1));
    }

    /// Of a line that is too long to be shown the part around the place, whatever the place's length.
    #[test]
    fn long_lines() {
        let words = "é".repeat(10_000);
        let text = Text::shared("t", format!("a\n{words}fault{words}\nb"));
        for length in [5, 5 + words.len()] {
            let at = 2 + words.len();
            let span = SourceSpan::new(at.into(), length);
            let found = text.read_span(&span, 1, 1).unwrap();
            let part = std::str::from_utf8(found.data()).unwrap();
            assert_eq!(part, format!("{}fault{}", "é".repeat(20), "é".repeat(37)));
            assert_eq!((found.line(), found.span().offset()), (1, at - 40));
            assert!(text.shown(&(at..at + length)).len() <= 80);
        }
        assert!(text.parts(&(0..1), &(words.len()..words.len() + 1)));
        assert!(!text.parts(&(0..1), &(2..4)));
    }

    /// The same lines as the whole text would show.
    #[test]
    fn lines_around_a_span() {
        let whole = "one\ntwo\r\n\nfour\nfive\nsix".to_owned();
        let text = Text::shared("t", whole.clone());
        for start in 0..whole.len() {
            for length in [0, 1, 5] {
                for context in [0, 1, 2] {
                    let span = SourceSpan::new(start.into(), length);
                    let all = |found: Box<dyn SpanContents<'_> + '_>| {
                        (found.data().to_vec(), *found.span(), found.line(), found.column())
                    };
                    let expected = whole.read_span(&span, context, context).map(all);
                    let found = text.read_span(&span, context, context).map(all);
                    assert_eq!(found.ok(), expected.ok(), "{start} {length} {context}");
                }
            }
        }
    }
}
