//! Sets of segment lists: what identity and path patterns hold, reasoned about exactly.

use std::collections::BTreeSet;

use signet_policy::Part;

use super::effort::Effort;

/// The segment lists that a pattern holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segments<'p> {
    /// The first segments; `None` is any one.
    fixed: Vec<Option<&'p str>>,
    /// Whether more may follow: at least this many. `None`: nothing follows.
    rest: Option<usize>,
    /// About how many steps it takes to compare the pattern.
    steps: usize,
}

impl<'p> Segments<'p> {
    /// The segments of a pattern. Its rest stands for at least `min` of them.
    pub(crate) fn of(parts: impl Iterator<Item = Part<'p>>, min: usize) -> Self {
        let (mut fixed, mut rest) = (Vec::new(), None);
        for part in parts {
            match part {
                Part::Literal(literal) => fixed.push(Some(literal)),
                Part::One => fixed.push(None),
                Part::Rest => rest = Some(min),
            }
        }
        let bytes = fixed.iter().flatten().map(|literal| literal.len()).sum::<usize>();
        let steps = 1 + fixed.len() / 8 + bytes / 64;
        Self { fixed, rest, steps }
    }

    /// The one identity of a text that is a SPIFFE ID.
    pub(crate) fn of_id(id: &'p str) -> Self {
        let segments = id.strip_prefix("spiffe://").unwrap_or(id).split('/');
        Self::of(segments.map(Part::Literal), 1)
    }

    /// Every identity.
    pub(crate) const fn anyone() -> Self {
        Self { fixed: Vec::new(), rest: Some(1), steps: 1 }
    }

    /// The literals with which the pattern begins.
    pub(crate) fn beginning(&self) -> Vec<&'p str> {
        self.fixed.iter().map_while(|segment| *segment).collect()
    }

    /// About how many steps it takes to compare the pattern.
    pub(crate) const fn steps(&self) -> usize {
        self.steps
    }

    pub(crate) fn holds<S: AsRef<str>>(&self, list: &[S]) -> bool {
        self.has_length(list.len())
            && self
                .fixed
                .iter()
                .zip(list)
                .all(|(want, found)| want.is_none_or(|want| want == found.as_ref()))
    }

    /// Whether some list is held by both.
    pub(crate) fn meets(&self, other: &Segments<'_>) -> bool {
        let least = |pattern: &Segments<'_>| pattern.fixed.len() + pattern.rest.unwrap_or(0);
        let longest = least(self).max(least(other));
        self.has_length(longest)
            && other.has_length(longest)
            && self
                .fixed
                .iter()
                .zip(&other.fixed)
                .all(|pair| !matches!(pair, (Some(a), Some(b)) if a != b))
    }

    fn has_length(&self, length: usize) -> bool {
        match self.rest {
            None => length == self.fixed.len(),
            Some(min) => length >= self.fixed.len() + min,
        }
    }

    fn literals(&self) -> impl Iterator<Item = &'p str> {
        self.fixed.iter().flatten().copied()
    }
}

/// A list of at least `min` segments that each of `all` holds and none of `none` does.
///
/// Exact: of a given length, a segment that no positive pattern fixes is best one that no pattern
/// names, since that is held by the fewest negative ones. And beyond the longest pattern all lengths
/// are alike. Nothing is said where all effort is spent.
pub(crate) fn pick(
    effort: &Effort,
    all: &[&Segments<'_>],
    none: &[&Segments<'_>],
    min: usize,
) -> Option<Vec<String>> {
    let patterns = || all.iter().chain(none);
    let longest = patterns().map(|p| p.fixed.len() + p.rest.unwrap_or(0)).max().unwrap_or(0);
    let steps = patterns().map(|pattern| pattern.steps()).sum::<usize>();
    effort.spend(steps).ok()?;
    let free = fresh("x", patterns().flat_map(|pattern| pattern.literals()));
    (min..=longest.max(min) + 1).find_map(|length| {
        if !all.iter().all(|pattern| pattern.has_length(length)) {
            return None;
        }
        effort.spend(length + steps).ok()?;
        let mut list = Vec::with_capacity(length);
        for i in 0..length {
            let mut wanted = all.iter().filter_map(|pattern| *pattern.fixed.get(i)?);
            let first = wanted.next();
            if wanted.any(|other| Some(other) != first) {
                return None;
            }
            list.push(first.unwrap_or(&free).to_owned());
        }
        none.iter().all(|pattern| !pattern.holds(&list)).then_some(list)
    })
}

/// `stem`, with as many `x` behind it as make it none of those that are taken.
pub(crate) fn fresh<'t>(stem: &str, taken: impl IntoIterator<Item = &'t str>) -> String {
    let more =
        |text: &'t str| text.strip_prefix(stem).filter(|more| more.bytes().all(|b| b == b'x'));
    let lengths: BTreeSet<usize> = taken.into_iter().filter_map(more).map(str::len).collect();
    let length = (0..lengths.len()).find(|length| !lengths.contains(length));
    format!("{stem}{}", "x".repeat(length.unwrap_or(lengths.len())))
}

#[cfg(test)]
mod tests {
    use signet_policy::PathPattern;

    use super::{Effort, Segments, fresh, pick};

    #[test]
    fn picking() {
        for (all, none, expected) in [
            (&["/a"][..], &[][..], Some("a")),
            (&["/a"], &["/a"], None),
            (&["/*"], &["/a"], Some("x")),
            (&["/*"], &["/x"], Some("xx")),
            (&["/*"], &["/*"], None),
            (&["/**"], &["/*"], Some("")),
            (&["/**"], &["/", "/*"], Some("x/x")),
            (&["/**"], &["/", "/*/**"], None),
            (&["/a/**"], &["/a", "/a/*", "/a/*/*/**"], None),
            (&["/a/**"], &["/a", "/a/*", "/a/*/b/**"], Some("a/x/x")),
            (&["/a/**", "/*/b"], &[], Some("a/b")),
            (&["/a/**", "/b/**"], &[], None),
            (&["/a/*", "/a"], &[], None),
            (&["/*/b", "/a/*"], &["/a/b"], None),
        ] {
            let parse = |list: &[&str]| {
                list.iter().map(|text| PathPattern::parse(text).unwrap()).collect::<Vec<_>>()
            };
            let (all_patterns, none_patterns) = (parse(all), parse(none));
            let segments = |pattern| Segments::of(PathPattern::parts(pattern).unwrap(), 0);
            let all_of: Vec<_> = all_patterns.iter().map(segments).collect();
            let none_of: Vec<_> = none_patterns.iter().map(segments).collect();
            let effort = Effort::of_policy();
            effort.turn_to(1);
            let (all_of, none_of) = (all_of.iter().collect::<Vec<_>>(), none_of.iter().collect());
            let found = pick(&effort, &all_of, &none_of as &Vec<_>, 0);
            assert_eq!(
                found.map(|list| list.join("/")).as_deref(),
                expected,
                "{all:?} without {none:?}"
            );
        }
    }

    #[test]
    fn fresh_texts() {
        for (stem, taken, expected) in [
            ("x", &[][..], "x"),
            ("x", &["y", "xx", ""], "x"),
            ("x", &["xx", "x", "xy", "xxxx"], "xxx"),
            ("X", &["X", "x"], "Xx"),
        ] {
            assert_eq!(fresh(stem, taken.iter().copied()), expected, "{taken:?}");
        }
    }
}
