//! What identity and path patterns share: a list of segments.

use std::cmp::Ordering;

/// One segment of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Segment {
    /// Exactly these octets.
    Literal(String),
    /// Any one segment.
    One,
    /// The rest of the target: at least `min` segments (0 or 1). Stands last.
    Rest { min: usize },
}

/// A segment of any kind of pattern, for those who reason about patterns: the index, and analysis.
#[derive(Clone, Copy, Debug)]
pub enum Part<'p> {
    /// Exactly these octets.
    Literal(&'p str),
    /// Any one segment.
    One,
    /// The rest: of an ID or a host at least one segment, of a path any number. Stands last.
    Rest,
}

impl Segment {
    pub(super) fn part(&self) -> Part<'_> {
        match self {
            Self::Literal(literal) => Part::Literal(literal),
            Self::One => Part::One,
            Self::Rest { .. } => Part::Rest,
        }
    }

    /// The segment's weight: a literal, or the pattern's end, outweighs one segment, which outweighs
    /// the rest.
    const fn weight(&self) -> u8 {
        match self {
            Self::Literal(_) => END,
            Self::One => 2,
            Self::Rest { .. } => 1,
        }
    }
}

/// The weight of the end of a pattern, the same as a literal's.
const END: u8 = 3;

/// Whether the whole of `target` matches the whole of `pattern`.
pub(super) fn matches<T: Copy>(
    pattern: &[Segment],
    mut target: impl Iterator<Item = T>,
    literal_matches: impl Fn(&str, T) -> bool,
) -> bool {
    for segment in pattern {
        match segment {
            Segment::Literal(literal) => match target.next() {
                Some(found) if literal_matches(literal, found) => {}
                _ => return false,
            },
            Segment::One => {
                if target.next().is_none() {
                    return false;
                }
            }
            Segment::Rest { min } => return *min == 0 || target.next().is_some(),
        }
    }
    target.next().is_none()
}

/// Compares two patterns by weight, segment by segment from left to right.
pub(super) fn compare_weight(a: &[Segment], b: &[Segment]) -> Ordering {
    let weight = |segment: Option<&Segment>| segment.map_or(END, Segment::weight);
    (0..a.len().max(b.len()))
        .map(|i| weight(a.get(i)).cmp(&weight(b.get(i))))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Whether some target matches both patterns.
pub(super) fn overlap(a: &[Segment], b: &[Segment]) -> bool {
    let mut rest_a = a.iter();
    let mut rest_b = b.iter();
    loop {
        match (rest_a.next(), rest_b.next()) {
            (None, None) => return true,
            (Some(Segment::Rest { min }), None) | (None, Some(Segment::Rest { min })) => {
                return *min == 0;
            }
            (None, Some(_)) | (Some(_), None) => return false,
            // What one side leaves open is one or more segments of the other: at least the one here.
            (Some(Segment::Rest { .. }), Some(_)) | (Some(_), Some(Segment::Rest { .. })) => {
                return true;
            }
            (Some(Segment::Literal(x)), Some(Segment::Literal(y))) if x != y => return false,
            (Some(_), Some(_)) => {}
        }
    }
}
