//! What the policy says about a request.

use std::fmt;

use super::Ambiguity;
use crate::peer::NoIdentity;

/// The decision about one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpDecision<'p> {
    /// Forward it, and tell the API what the rule says.
    Allow {
        /// The name of the heaviest matching rule.
        rule: &'p str,
        /// The Postgres role that the API may use for this call, where the rule has one.
        db_role: Option<&'p str>,
    },
    /// Answer 403, or grpc-status 7.
    Deny(HttpDenial<'p>),
    /// Answer 400: two readers could read the request differently.
    Refuse(Ambiguity),
}

/// Why a request is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpDenial<'p> {
    /// The caller has no identity.
    NoIdentity(NoIdentity),
    /// A deny rule says so: its name.
    Rule(&'p str),
    /// No rule allows it.
    NoRule,
    /// The identity of the workload that was called is withdrawn.
    Withdrawn,
    /// A plain CONNECT is never allowed.
    Connect,
}

impl<'p> HttpDecision<'p> {
    /// `allow`, `deny` or `refuse`.
    pub const fn verdict(&self) -> &'static str {
        match self {
            Self::Allow { .. } => "allow",
            Self::Deny(_) => "deny",
            Self::Refuse(_) => "refuse",
        }
    }

    /// The name of the rule that decided, if one did.
    pub const fn rule(&self) -> Option<&'p str> {
        match self {
            Self::Allow { rule, .. } | Self::Deny(HttpDenial::Rule(rule)) => Some(rule),
            Self::Deny(_) | Self::Refuse(_) => None,
        }
    }

    /// A short constant name for logs, metrics and response code details.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Allow { .. } => "allowed",
            Self::Deny(HttpDenial::NoIdentity(no_identity)) => no_identity.reason(),
            Self::Deny(HttpDenial::Rule(_)) => "denied_by_rule",
            Self::Deny(HttpDenial::NoRule) => "no_rule",
            Self::Deny(HttpDenial::Withdrawn) => "identity_withdrawn",
            Self::Deny(HttpDenial::Connect) => "connect",
            Self::Refuse(ambiguity) => ambiguity.reason(),
        }
    }
}

/// A sentence for the log. It names the rule: not for the peer, unless it may know.
impl fmt::Display for HttpDecision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow { rule, .. } => write!(f, "allowed by rule `{rule}`"),
            Self::Deny(HttpDenial::NoIdentity(no_identity)) => no_identity.fmt(f),
            Self::Deny(HttpDenial::Rule(rule)) => write!(f, "denied by rule `{rule}`"),
            Self::Deny(HttpDenial::NoRule) => f.write_str("no rule allows it"),
            Self::Deny(HttpDenial::Withdrawn) => {
                f.write_str("the identity of the workload that was called is withdrawn")
            }
            Self::Deny(HttpDenial::Connect) => f.write_str("a plain CONNECT is never allowed"),
            Self::Refuse(ambiguity) => ambiguity.fmt(f),
        }
    }
}
