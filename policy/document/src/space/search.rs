//! The search for a request that rules treat in a certain way.

use super::dimension::Dimension;
use super::pick::{Bounds, Sort};
use super::point::Point;
use super::region::Region;

/// What is made of a point that was picked.
pub(crate) enum Step<'d> {
    /// It is what was sought.
    Found,
    /// It isn't, and nothing is, unless outside one of the first regions or inside one of the second.
    Split { outside: Vec<Region<'d>>, inside: Vec<Region<'d>> },
}

/// A search in the box of some regions.
pub(crate) struct Search<'d> {
    sort: Sort,
    all: Vec<Region<'d>>,
    none: Vec<(Dimension, Region<'d>)>,
    /// How many points may still be picked.
    left: usize,
}

/// Points that one search may pick. Policies that people write need a few.
const MOST_POINTS: usize = 4_000;

impl<'d> Search<'d> {
    /// Finds a point in all of `regions` that `judge` takes.
    ///
    /// # Errors
    /// Where the search was given up.
    pub(crate) fn find(
        regions: &[Region<'d>],
        mut judge: impl FnMut(&Point) -> Step<'d>,
    ) -> Result<Option<Point>, GaveUp> {
        let postgres = regions.iter().any(|region| region.rule.databases.is_some());
        let sorts: &[Sort] =
            if postgres { &[Sort::Postgres] } else { &[Sort::Path, Sort::Asterisk] };
        for sort in sorts {
            let all = regions.to_vec();
            let mut search = Self { sort: *sort, all, none: Vec::new(), left: MOST_POINTS };
            if let Some(point) = search.step(&mut judge)? {
                return Ok(Some(point));
            }
        }
        Ok(None)
    }

    fn step(
        &mut self,
        judge: &mut impl FnMut(&Point) -> Step<'d>,
    ) -> Result<Option<Point>, GaveUp> {
        let Some(point) = (Bounds { sort: self.sort, all: &self.all, none: &self.none }).pick()
        else {
            return Ok(None);
        };
        self.left = self.left.checked_sub(1).ok_or(GaveUp)?;
        let (outside, inside) = match judge(&point) {
            Step::Found => return Ok(Some(point)),
            Step::Split { outside, inside } => (outside, inside),
        };
        for region in outside {
            for dimension in region.dimensions() {
                self.none.push((dimension, region));
                let found = self.step(judge)?;
                self.none.pop();
                if found.is_some() {
                    return Ok(found);
                }
            }
        }
        for region in inside {
            // In it already: nothing new is there.
            if self.all.iter().any(|held| std::ptr::eq(held.rule, region.rule)) {
                continue;
            }
            self.all.push(region);
            let found = self.step(judge)?;
            self.all.pop();
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

/// A search took too many steps: nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GaveUp;
