//! Sets of segment lists: what identity and path patterns hold, reasoned about exactly.

/// The segment lists that a pattern holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segments {
    /// The first segments; `None` is any one.
    fixed: Vec<Option<String>>,
    /// Whether more may follow: at least this many. `None`: nothing follows.
    rest: Option<usize>,
}

impl Segments {
    /// Reads a pattern's canonical text after its leading `/` or `spiffe://`. `**` stands for at
    /// least `min` segments.
    pub(crate) fn of(text: &str, min: usize) -> Self {
        let mut fixed = Vec::new();
        for segment in text.split('/').filter(|segment| !segment.is_empty()) {
            match segment {
                "**" => return Self { fixed, rest: Some(min) },
                "*" => fixed.push(None),
                literal => fixed.push(Some(literal.to_owned())),
            }
        }
        Self { fixed, rest: None }
    }

    /// The literals with which the pattern begins.
    pub(crate) fn beginning(&self) -> Vec<&str> {
        self.fixed.iter().map_while(Option::as_deref).collect()
    }

    pub(crate) fn holds(&self, list: &[String]) -> bool {
        self.has_length(list.len())
            && self
                .fixed
                .iter()
                .zip(list)
                .all(|(want, found)| want.as_ref().is_none_or(|w| w == found))
    }

    /// Whether some list is held by both.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        let least = |pattern: &Self| pattern.fixed.len() + pattern.rest.unwrap_or(0);
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

    fn literals(&self) -> impl Iterator<Item = &str> {
        self.fixed.iter().flatten().map(String::as_str)
    }
}

/// A list of at least `min` segments that each of `all` holds and none of `none` does.
///
/// Exact: of a given length, a segment that no positive pattern fixes is best one that no pattern
/// names, since that is held by the fewest negative ones. And beyond the longest pattern all lengths
/// are alike.
pub(crate) fn pick(all: &[&Segments], none: &[&Segments], min: usize) -> Option<Vec<String>> {
    let patterns = || all.iter().chain(none);
    let longest = patterns().map(|p| p.fixed.len() + p.rest.unwrap_or(0)).max().unwrap_or(0);
    let free = fresh("x", |text| patterns().any(|p| p.literals().any(|literal| literal == text)));
    (min..=longest.max(min) + 1).find_map(|length| {
        if !all.iter().all(|pattern| pattern.has_length(length)) {
            return None;
        }
        let mut list = Vec::with_capacity(length);
        for i in 0..length {
            let mut wanted = all.iter().filter_map(|pattern| pattern.fixed.get(i)?.as_ref());
            let first = wanted.next();
            if wanted.any(|other| Some(other) != first) {
                return None;
            }
            list.push(first.unwrap_or(&free).clone());
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
            let parse = |list: &[&str]| list.iter().map(|t| Segments::of(t, 0)).collect::<Vec<_>>();
            let (all_of, none_of) = (parse(all), parse(none));
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
