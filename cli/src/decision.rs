//! One decision, as the filter gave it.

use std::fmt;

use serde::Serialize;
use signet_policy_document::{Expectation, Verdict};

/// What a filter decided about one case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Decision {
    #[serde(rename = "decision", serialize_with = "as_word")]
    pub(crate) verdict: Verdict,
    /// The rule that decided; none where the default deny did, or nothing was judged.
    pub(crate) rule: Option<String>,
    pub(crate) reason: String,
    #[serde(flatten)]
    pub(crate) role: Role,
    pub(crate) policy_digest: String,
    pub(crate) wasm_digest: String,
}

/// The role that an allowed call or connection has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Role {
    /// What the API is told.
    #[serde(rename = "db_role")]
    Told(Option<String>),
    /// What the connection is in Postgres.
    #[serde(rename = "role")]
    LoggedIn(Option<String>),
}

impl Role {
    /// The key that it has in test cases and JSON.
    pub(crate) const fn key(&self) -> &'static str {
        match self {
            Self::Told(_) => "db_role",
            Self::LoggedIn(_) => "role",
        }
    }

    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Told(name) | Self::LoggedIn(name) => name.as_deref(),
        }
    }
}

impl Decision {
    /// Whether all that is expected is so.
    pub(crate) fn fits(&self, expected: &Expectation) -> bool {
        self.verdict == expected.verdict
            && expected.rule.as_ref().is_none_or(|rule| *rule == self.rule)
            && expected.role.as_ref().is_none_or(|role| role.as_deref() == self.role.name())
    }
}

/// `allow by RULE as ROLE`, or `deny: REASON`.
impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = self.rule.as_deref();
        write_parts(f, self.verdict, rule, self.role.name())?;
        if self.verdict != Verdict::Allow {
            write!(f, " ({})", self.reason)?;
        }
        Ok(())
    }
}

/// What a test expects, in the words of a decision.
pub(crate) struct Expected<'a>(pub(crate) &'a Expectation);

impl fmt::Display for Expected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Expectation { verdict, rule, role }) = self;
        let named = |part: &'_ Option<Option<String>>| {
            part.as_ref().map(|name| name.clone().unwrap_or_else(|| "none".to_owned()))
        };
        write_parts(f, *verdict, named(rule).as_deref(), named(role).as_deref())
    }
}

fn write_parts(
    f: &mut fmt::Formatter<'_>,
    verdict: Verdict,
    rule: Option<&str>,
    acts_as: Option<&str>,
) -> fmt::Result {
    write!(f, "{verdict}")?;
    if let Some(rule) = rule {
        write!(f, " by {rule}")?;
    }
    if let Some(role) = acts_as {
        write!(f, " as {role}")?;
    }
    Ok(())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn as_word<S: serde::Serializer>(verdict: &Verdict, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(verdict.as_str())
}
