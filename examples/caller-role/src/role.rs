//! Roles that may be taken for a caller.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::Serialize;

/// Postgres cuts a longer name, silently. Unit: bytes.
const LONGEST: usize = 63;

/// The name of a Postgres role, letter for letter: it is never folded to lower case, and never part of SQL's text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Role(String);

/// A name that no caller may have as its role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no role for a caller, accepted: 1 to 63 bytes without control characters, and neither none, public, postgres nor pg_…"
)]
pub struct NoRole(String);

impl Role {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Role {
    type Err = NoRole;

    /// `none` would keep the login's own rights (`set role none`), `public` is everyone, and the rest come with Postgres
    /// and may do more than a caller should.
    fn from_str(name: &str) -> Result<Self, NoRole> {
        let fits = (1..=LONGEST).contains(&name.len()) && !name.contains(char::is_control);
        let reserved = matches!(name, "none" | "public" | "postgres") || name.starts_with("pg_");
        if fits && !reserved { Ok(Self(name.to_owned())) } else { Err(NoRole(name.to_owned())) }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The roles that an API may take for its callers, and no other: a closed list of its own, whatever a header says. A clone
/// is the same list.
#[derive(Clone, Debug)]
pub struct Roles(Arc<BTreeSet<Role>>);

impl Roles {
    /// The list. An empty one refuses every caller.
    pub fn new(roles: impl IntoIterator<Item = Role>) -> Self {
        Self(Arc::new(roles.into_iter().collect()))
    }

    /// The role of exactly this name, if it is on the list.
    pub fn find(&self, name: &str) -> Option<&Role> {
        self.iter().find(|role| role.as_str() == name)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Role> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_one_that_can_be_taken() {
        let (longest, longer) = ("a".repeat(63), "a".repeat(64));
        for (name, accepted) in [
            ("customers_reader", true),
            // Such roles can exist, and mean nothing else than themselves where a name is a parameter.
            ("None", true),
            ("NONE", true),
            ("läser", true),
            ("a\"; drop role b; --", true),
            (longest.as_str(), true),
            (longer.as_str(), false),
            ("none", false),
            ("public", false),
            ("postgres", false),
            ("pg_read_all_data", false),
            ("", false),
            ("a\0b", false),
            ("a\nb", false),
        ] {
            assert_eq!(name.parse::<Role>().is_ok(), accepted, "{name:?}");
        }
    }

    #[test]
    fn the_list_is_closed_and_knows_no_spelling_but_its_own() {
        let roles = Roles::new(["reader".parse().unwrap(), "writer".parse().unwrap()]);
        assert_eq!(roles.find("reader").unwrap().as_str(), "reader");
        for name in
            ["Reader", "READER", " reader", "reader ", "\"reader\"", "reader,writer", "none", ""]
        {
            assert_eq!(roles.find(name), None, "{name:?}");
        }
        assert_eq!(Roles::new([]).find("reader"), None);
    }
}
