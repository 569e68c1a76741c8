//! What identity and path patterns share: a list of segments.

use std::cmp::Ordering;

/// One segment of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'p> {
    /// Exactly these octets.
    Literal(&'p str),
    /// Any one segment.
    One,
    /// The rest: of an ID or a host at least one segment, of a path any number. Stands last.
    Rest,
}

impl<'p> Part<'p> {
    /// A segment as canonical texts write it.
    pub(super) fn of(segment: &'p str) -> Self {
        match segment {
            "*" => Self::One,
            "**" => Self::Rest,
            literal => Self::Literal(literal),
        }
    }

    /// The segment's weight: a literal, or the pattern's end, outweighs one segment, which outweighs
    /// the rest.
    const fn weight(self) -> u8 {
        match self {
            Self::Literal(_) => END,
            Self::One => 2,
            Self::Rest => 1,
        }
    }
}

/// The weight of the end of a pattern, the same as a literal's.
const END: u8 = 3;

/// Whether the whole of `target` matches the whole of `pattern`, whose rest is at least `min` segments.
pub(super) fn matches<'p, T: Copy>(
    pattern: impl Iterator<Item = Part<'p>>,
    min: usize,
    mut target: impl Iterator<Item = T>,
    literal_matches: impl Fn(&str, T) -> bool,
) -> bool {
    for part in pattern {
        match part {
            Part::Literal(literal) => match target.next() {
                Some(found) if literal_matches(literal, found) => {}
                _ => return false,
            },
            Part::One => {
                if target.next().is_none() {
                    return false;
                }
            }
            Part::Rest => return min == 0 || target.next().is_some(),
        }
    }
    target.next().is_none()
}

/// Compares two patterns by weight, segment by segment from left to right.
pub(super) fn compare_weight<'p>(
    mut a: impl Iterator<Item = Part<'p>>,
    mut b: impl Iterator<Item = Part<'p>>,
) -> Ordering {
    let weight = |part: Option<Part<'_>>| part.map_or(END, Part::weight);
    loop {
        let pair = (a.next(), b.next());
        let order = weight(pair.0).cmp(&weight(pair.1));
        if order.is_ne() || pair == (None, None) {
            return order;
        }
    }
}

/// Whether some target matches both patterns, whose rests are at least `min` segments.
pub(super) fn overlap<'p>(
    mut a: impl Iterator<Item = Part<'p>>,
    mut b: impl Iterator<Item = Part<'p>>,
    min: usize,
) -> bool {
    loop {
        match (a.next(), b.next()) {
            (Some(Part::Rest), None) | (None, Some(Part::Rest)) => return min == 0,
            (a, b) if a.is_none() || b.is_none() => return a == b,
            // What one side leaves open is one or more segments of the other: at least the one here.
            (Some(Part::Rest), _) | (_, Some(Part::Rest)) => return true,
            (Some(Part::Literal(x)), Some(Part::Literal(y))) if x != y => return false,
            _ => {}
        }
    }
}
