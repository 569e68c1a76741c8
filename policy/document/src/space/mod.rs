//! The space of all requests and connections, and exact reasoning about the regions that rules are.
//!
//! A rule is a box: what it asks of the caller, the path, the host and so on are sets that don't
//! depend on each other. Whether some request is in these rules and not in those is searched by
//! counter-example: pick a request in the box, ask the rules who decides about it, and if that isn't
//! the answer sought, cut that rule off along each of its dimensions in turn. Each cut is a smaller
//! box, and picking from a box is exact in each dimension: so the search finds a witness if there is
//! one, and its failure is a proof that there is none. What lists multiply to is searched so far and no further;
//! then nothing is known.

mod beginnings;
mod dimension;
mod effort;
mod patterns;
mod pick;
mod point;
mod region;
mod rule;
mod search;
mod segments;

pub(crate) use beginnings::Beginnings;
pub(crate) use effort::{Effort, GaveUp};
pub(crate) use patterns::{Pattern, Patterns};
pub(crate) use point::Point;
pub(crate) use region::{Region, share};
pub(crate) use rule::{Named, Rule};
pub(crate) use search::{Search, Step};
pub(crate) use segments::Segments;
