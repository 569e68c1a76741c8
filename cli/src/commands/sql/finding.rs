//! A difference between what the policy asks and what the server has.

use std::fmt;

use serde::Serialize;

/// Which way a server differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Drift {
    /// The policy asks for it, the server hasn't got it.
    Missing,
    /// The server gives it, the policy doesn't know it.
    Superfluous,
    /// A role may do more than any workload should.
    Privileged,
}

/// One difference.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    pub(super) drift: Drift,
    /// What it is about.
    pub(super) thing: String,
    /// What the server has.
    pub(super) found: String,
    /// What would be accepted.
    pub(super) wanted: String,
    /// The SQL that repairs it, or the line of a file.
    pub(super) repair: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { drift, thing, found, wanted, repair } = self;
        let drift = match drift {
            Drift::Missing => "missing",
            Drift::Superfluous => "superfluous",
            Drift::Privileged => "privileged",
        };
        // Names in a file may be those of whoever may make databases, and are not to look like another finding.
        let found = found.replace(char::is_control, "\u{fffd}");
        let repair = repair.replace('\n', "\n            ");
        write!(
            f,
            "{drift}: {thing}\n    found   {found}\n    wanted  {wanted}\n    repair  {repair}\n"
        )
    }
}
