//! Sets of segment lists: what identity and path patterns hold, reasoned about exactly.

use signet_policy::Part;

/// The segment lists that a pattern holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segments<'p> {
    /// The first segments; `None` is any one.
    fixed: Vec<Option<&'p str>>,
    /// Whether more may follow: at least this many. `None`: nothing follows.
    rest: Option<usize>,
}

impl<'p> Segments<'p> {
    /// The segments of a pattern. Its rest stands for at least `min` of them.
    pub(crate) fn of(parts: impl Iterator<Item = Part<'p>>, min: usize) -> Self {
        let mut fixed = Vec::new();
        for part in parts {
            match part {
                Part::Literal(literal) => fixed.push(Some(literal)),
                Part::One => fixed.push(None),
                Part::Rest => return Self { fixed, rest: Some(min) },
            }
        }
        Self { fixed, rest: None }
    }

    /// The one identity of a text that is a SPIFFE ID.
    pub(crate) fn of_id(id: &'p str) -> Self {
        let segments = id.strip_prefix("spiffe://").unwrap_or(id).split('/');
        Self::of(segments.map(Part::Literal), 1)
    }

    /// Every identity.
    pub(crate) const fn anyone() -> Self {
        Self { fixed: Vec::new(), rest: Some(1) }
    }

    /// The literals with which the pattern begins.
    pub(crate) fn beginning(&self) -> Vec<&'p str> {
        self.fixed.iter().map_while(|segment| *segment).collect()
    }

    pub(crate) fn holds(&self, list: &[String]) -> bool {
        self.has_length(list.len())
            && self
                .fixed
                .iter()
                .zip(list)
                .all(|(want, found)| want.is_none_or(|want| want == found))
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
/// are alike.
pub(crate) fn pick(
    all: &[&Segments<'_>],
    none: &[&Segments<'_>],
    min: usize,
) -> Option<Vec<String>> {
    let patterns = || all.iter().chain(none);
    let longest = patterns().map(|p| p.fixed.len() + p.rest.unwrap_or(0)).max().unwrap_or(0);
    let free = fresh("x", |text| patterns().any(|p| p.literals().any(|literal| literal == text)));
    (min..=longest.max(min) + 1).find_map(|length| {
        if !all.iter().all(|pattern| pattern.has_length(length)) {
            return None;
        }
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

/// `stem`, made longer until it isn't `taken`.
pub(crate) fn fresh(stem: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut text = stem.to_owned();
    while taken(&text) {
        text.push('x');
    }
    text
}

#[cfg(test)]
mod tests {
    use signet_policy::PathPattern;

    use super::{Segments, pick};

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
            let found =
                pick(&all_of.iter().collect::<Vec<_>>(), &none_of.iter().collect::<Vec<_>>(), 0);
            assert_eq!(
                found.map(|list| list.join("/")).as_deref(),
                expected,
                "{all:?} without {none:?}"
            );
        }
    }
}
