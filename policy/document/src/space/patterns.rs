//! Lists of patterns. In long ones those that may meet another are found by how they begin.
//!
//! Where all effort is spent, nothing is found: who asks for the answer checks the effort.

use super::beginnings::Beginnings;
use super::effort::Effort;
use super::segments::Segments;

/// What lists are of.
pub(crate) trait Pattern<'d> {
    /// The segment lists that it holds; none for the target of `OPTIONS *`.
    fn segments(&self) -> Option<&Segments<'d>>;

    /// The literals with which it begins.
    fn beginning(&self) -> Vec<&'d str> {
        self.segments().map(Segments::beginning).unwrap_or_default()
    }
}

impl<'d> Pattern<'d> for Segments<'d> {
    fn segments(&self) -> Option<&Segments<'d>> {
        Some(self)
    }
}

/// A list of patterns.
#[derive(Debug)]
pub(crate) struct Patterns<'d, P> {
    list: Vec<P>,
    /// The places in a long list.
    by_beginning: Option<Box<Beginnings<'d>>>,
}

/// So few patterns are looked at one by one.
const FEW: usize = 16;

impl<'d, P: Pattern<'d>> Patterns<'d, P> {
    pub(crate) fn new(list: Vec<P>) -> Self {
        let by_beginning = (list.len() > FEW).then(|| {
            let mut all = Beginnings::new();
            for (place, pattern) in list.iter().enumerate() {
                all.insert(&pattern.beginning(), place);
            }
            Box::new(all)
        });
        Self { list, by_beginning }
    }

    pub(crate) fn as_slice(&self) -> &[P] {
        &self.list
    }

    /// All of them.
    pub(crate) const fn all(&self) -> Choice<'_, 'd, P> {
        self.one_or_all(None)
    }

    /// One of them, or all.
    pub(super) const fn one_or_all(&self, one: Option<usize>) -> Choice<'_, 'd, P> {
        Choice { of: self, one }
    }
}

/// A list, or one pattern of it.
#[derive(Debug)]
pub(crate) struct Choice<'r, 'd, P> {
    of: &'r Patterns<'d, P>,
    one: Option<usize>,
}

impl<P> Clone for Choice<'_, '_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Choice<'_, '_, P> {}

impl<'r, 'd, P: Pattern<'d>> Choice<'r, 'd, P> {
    fn as_slice(self) -> &'r [P] {
        self.one.and_then(|one| self.of.list.get(one..=one)).unwrap_or(&self.of.list)
    }

    /// About how many steps it takes to go through all of them.
    pub(super) fn steps(self) -> usize {
        self.as_slice().iter().filter_map(Pattern::segments).map(Segments::steps).sum()
    }

    /// The places of a short list, or those that are looked up in a long one.
    fn places(
        self,
        look_up: impl FnOnce(&'r Beginnings<'d>) -> Vec<usize>,
    ) -> impl Iterator<Item = usize> {
        let all = self.one.map_or(0..self.of.list.len(), |one| one..one + 1);
        match (&self.of.by_beginning, self.one) {
            (Some(by_beginning), None) => {
                let mut found = look_up(by_beginning);
                found.sort_unstable();
                (0..0).chain(found)
            }
            _ => all.chain(Vec::new()),
        }
    }

    /// Those that may meet a pattern which begins so, in order.
    pub(super) fn near(
        self,
        effort: &Effort,
        beginning: &[&str],
    ) -> impl Iterator<Item = &'r Segments<'d>> {
        let places = self.places(|by_beginning| {
            let mut found = Vec::new();
            if effort.spend(by_beginning.look_up(beginning).steps).is_ok() {
                by_beginning.meeting(beginning, &mut found);
            }
            found
        });
        places
            .filter_map(move |place| self.of.list.get(place)?.segments())
            .take_while(|segments| effort.spend(segments.steps()).is_ok())
    }

    /// The places of all that hold a list of segments, in order.
    pub(super) fn holding<S: AsRef<str>>(
        self,
        effort: &Effort,
        whole: &[S],
    ) -> impl Iterator<Item = usize> {
        let places = self.places(|by_beginning| {
            let before = by_beginning.before(whole);
            let count = before.iter().map(|numbers| numbers.len()).sum::<usize>();
            let enough = effort.spend(before.len() + count).is_ok();
            if enough { before.concat() } else { Vec::new() }
        });
        places.take_while(|_| effort.spend(1 + whole.len() / 8).is_ok()).filter(move |place| {
            self.of.list[*place].segments().is_some_and(|one| one.holds(whole))
        })
    }

    /// Whether one of the patterns holds a list of segments.
    pub(super) fn holds<S: AsRef<str>>(self, effort: &Effort, whole: &[S]) -> bool {
        self.holding(effort, whole).next().is_some()
    }

    /// Whether one of the patterns meets one of the others.
    pub(super) fn meets(self, effort: &Effort, other: Self) -> bool {
        let (few, many) = if self.as_slice().len() <= other.as_slice().len() {
            (self, other)
        } else {
            (other, self)
        };
        let mut few = few.as_slice().iter().take_while(|_| effort.spend(1).is_ok());
        few.any(|one| match one.segments() {
            Some(segments) => {
                many.near(effort, &one.beginning()).any(|other| other.meets(segments))
            }
            None => many.as_slice().iter().any(|other| other.segments().is_none()),
        })
    }
}
