//! The search for a request that rules treat in a certain way.

use super::dimension::Dimension;
use super::effort::{Effort, GaveUp};
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
pub(crate) struct Search<'s, 'd> {
    effort: &'s Effort,
    sort: Sort,
    all: Vec<Region<'d>>,
    none: Vec<(Dimension, Region<'d>)>,
    /// How many points may still be picked.
    left: usize,
}

/// Points that one search may pick. Policies that people write need a few.
const MOST_POINTS: usize = 4_000;

/// Steps that an alternative costs besides what is compared: several thousand are searched for a rule.
const OF_AN_ALTERNATIVE: usize = 20;

impl<'d> Search<'_, 'd> {
    /// Finds a point in one of `alternatives`, and within `bounds` where there are any, that `judge` takes.
    ///
    /// # Errors
    /// Where none was found and something was not searched.
    pub(crate) fn find_in_any(
        effort: &Effort,
        alternatives: impl Iterator<Item = Region<'d>>,
        bounds: Option<Region<'d>>,
        mut judge: impl FnMut(&Point) -> Step<'d>,
    ) -> Result<Option<Point>, GaveUp> {
        let mut answer = Ok(None);
        for alternative in alternatives {
            effort.spend(OF_AN_ALTERNATIVE)?;
            // The narrow one first: fewer patterns are tried beside each other.
            let regions: Vec<Region<'d>> = bounds.into_iter().chain([alternative]).collect();
            match Self::find(effort, &regions, &mut judge) {
                Ok(None) => {}
                // Another alternative may still have one.
                Err(GaveUp) => answer = Err(GaveUp),
                found => return found,
            }
        }
        answer
    }

    /// Finds a point in all of `regions` that `judge` takes, with what is left of the effort.
    ///
    /// # Errors
    /// Where the search was given up.
    pub(crate) fn find(
        effort: &Effort,
        regions: &[Region<'d>],
        mut judge: impl FnMut(&Point) -> Step<'d>,
    ) -> Result<Option<Point>, GaveUp> {
        let postgres = regions.iter().any(|region| region.rule.databases.is_some());
        let sorts: &[Sort] =
            if postgres { &[Sort::Postgres] } else { &[Sort::Path, Sort::Asterisk] };
        for sort in sorts {
            let all = regions.to_vec();
            let none = Vec::new();
            let mut search = Search { effort, sort: *sort, all, none, left: MOST_POINTS };
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
        let (effort, all, none) = (self.effort, &self.all, &self.none);
        let picked = (Bounds { effort, sort: self.sort, all, none }).pick();
        // What wasn't looked for to the end says nothing.
        effort.check()?;
        let Some(point) = picked else { return Ok(None) };
        self.left = self.left.checked_sub(1).ok_or(GaveUp)?;
        let judged = judge(&point);
        effort.check()?;
        let (outside, inside) = match judged {
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
