//! Patterns over identities, paths and hosts. All work on whole segments, so that
//! `…/ns/shop` can never match `…/ns/shop2`, and each has a weight to compare it by.

mod host;
mod id;
mod path;
mod segments;

use std::fmt;

pub use host::HostPattern;
pub use id::IdPattern;
pub use path::PathPattern;
pub use segments::Part;

/// Why a text is no pattern: a sentence that says what would be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatternError(pub(crate) &'static str);

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for PatternError {}
