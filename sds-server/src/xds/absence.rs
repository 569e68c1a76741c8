//! Why nothing is served under a name. The peer sees silence; operators see this.

use spiffe::SpiffeId;

use super::names::NameError;
use crate::policy::NoSlice;

/// Why a name is answered with nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Absence {
    /// The text is no name.
    #[error("no such name: {0}")]
    Name(#[from] NameError),
    /// No SVID is the default one now.
    #[error("there is no default SVID now")]
    NoDefault,
    /// The source does not issue this SVID here.
    #[error("no SVID of {0} is issued here now")]
    NotIssued(SpiffeId),
    /// The source gives this hint to no SVID.
    #[error("no SVID with the hint `{0}` is issued here now")]
    NoHint(String),
    /// The source knows none of these trust domains.
    #[error("no bundle of a trust domain that it names is known here now")]
    NoBundle,
    /// A plain list of authorities would let each speak for all.
    #[error(
        "a plain list of authorities holds one trust domain only, or each could issue the others' identities; \
         the form .spiffe holds several"
    )]
    SeveralTrustDomains,
    /// There is no JWT-SVID now.
    #[error("there is no such JWT-SVID now: {0}")]
    NoToken(String),
    /// Others are wanted already.
    #[error("{0} different JWT-SVIDs are wanted already, accepted by `limits.jwt_svids`")]
    TooManyTokens(usize),
    /// The key does not fit into PEM.
    #[error("the key cannot be written as PEM")]
    Unwritable,
    /// There is no policy for it.
    #[error("no filter configuration: {0}")]
    Slice(#[from] NoSlice),
    /// The peer may not have it, whether there is such a thing or not.
    #[error("this peer may not have it")]
    NotPermitted,
}

impl Absence {
    /// The metric's label.
    pub(crate) const fn class(&self) -> &'static str {
        match self {
            Self::Name(_) => "name",
            Self::NoDefault | Self::NotIssued(_) | Self::NoHint(_) => "no_svid",
            Self::NoBundle => "no_bundle",
            Self::SeveralTrustDomains => "several_trust_domains",
            Self::NoToken(_) | Self::TooManyTokens(_) => "no_token",
            Self::Unwritable => "unwritable",
            Self::Slice(_) => "no_policy",
            Self::NotPermitted => "not_permitted",
        }
    }

    /// Whether waiting will not help: the name itself is wrong.
    pub(crate) const fn is_final(&self) -> bool {
        matches!(self, Self::Name(_) | Self::SeveralTrustDomains)
    }
}
