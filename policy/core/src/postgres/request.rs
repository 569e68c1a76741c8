//! The facts of a StartupMessage.

use super::PostgresRefusal;
use crate::names::MAX_POSTGRES_NAME;

/// Most parameters of one StartupMessage, those in its `options` included. Clients send about ten.
pub const MAX_PARAMETERS: usize = 128;

/// One parameter: its name and its value.
pub type Parameter<'a> = (&'a [u8], &'a [u8]);

/// A StartupMessage, already taken apart.
#[derive(Clone, Copy, Debug)]
pub struct StartupRequest<'a> {
    /// The packet's parameters in order, duplicates included: of these the last wins.
    pub parameters: &'a [Parameter<'a>],
    /// The settings split out of the packet's `options` (`-c x=y`, `--x=y`), in order.
    pub options: &'a [Parameter<'a>],
}

impl<'a> StartupRequest<'a> {
    /// The user and the database that are asked for. As in Postgres, the database defaults to the
    /// user, and an empty one is none.
    pub(crate) fn user_and_database(&self) -> Result<(&'a [u8], &'a [u8]), PostgresRefusal> {
        if self.parameters.len().saturating_add(self.options.len()) > MAX_PARAMETERS {
            return Err(PostgresRefusal::TooManyParameters);
        }
        let user = self.last(b"user").ok_or(PostgresRefusal::NoUser)?;
        if user.len() > MAX_POSTGRES_NAME {
            return Err(PostgresRefusal::UserTooLong);
        }
        let database = self.last(b"database").unwrap_or(user);
        if database.len() > MAX_POSTGRES_NAME {
            return Err(PostgresRefusal::DatabaseTooLong);
        }
        Ok((user, database))
    }

    /// The last value of a key that Postgres reads itself; these are compared exactly.
    fn last(&self, key: &[u8]) -> Option<&'a [u8]> {
        let mut values = self.parameters.iter().rev().filter(|(name, _)| *name == key);
        values.next().map(|(_, value)| *value).filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_PARAMETERS, Parameter, PostgresRefusal, StartupRequest};

    #[test]
    fn user_and_database() {
        use PostgresRefusal as R;
        let long = "x".repeat(64);
        for (pairs, expected) in [
            (&[("user", "u"), ("database", "d")][..], Ok(("u", "d"))),
            (&[("user", "u")], Ok(("u", "u"))),
            (&[("user", "u"), ("database", "")], Ok(("u", "u"))),
            (&[("user", "a"), ("user", "b"), ("database", "c"), ("database", "d")], Ok(("b", "d"))),
            (&[("database", "d")], Err(R::NoUser)),
            (&[("user", "")], Err(R::NoUser)),
            (&[("user", "a"), ("user", "")], Err(R::NoUser)),
            (&[("USER", "u")], Err(R::NoUser)),
            (&[("user", &long)], Err(R::UserTooLong)),
            (&[("user", "u"), ("database", &long)], Err(R::DatabaseTooLong)),
        ] {
            let parameters: Vec<Parameter<'_>> =
                pairs.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes())).collect();
            let request = StartupRequest { parameters: &parameters, options: &[] };
            let expected = expected.map(|(user, database)| (user.as_bytes(), database.as_bytes()));
            assert_eq!(request.user_and_database(), expected, "{pairs:?}");
        }
    }

    #[test]
    fn too_many_parameters() {
        let many = vec![(&b"DateStyle"[..], &b"ISO"[..]); MAX_PARAMETERS];
        let user = [(&b"user"[..], &b"u"[..])];
        let request = StartupRequest { parameters: &user, options: &many };
        assert_eq!(request.user_and_database(), Err(PostgresRefusal::TooManyParameters));
    }
}
