//! The two forms of a validation context.

/// How a bundle is written for Envoy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum ValidationForm {
    /// For `envoy.tls.cert_validator.spiffe`: each trust domain's authorities speak for that domain
    /// only.
    #[default]
    Spiffe,
    /// As `trusted_ca`, for Envoys and clients that know nothing else. One trust domain only: in a
    /// plain list every authority speaks for every identity.
    Plain,
}

impl ValidationForm {
    /// The end of a name that asks for this form.
    pub(crate) const fn suffix(self) -> &'static str {
        match self {
            Self::Spiffe => ".spiffe",
            Self::Plain => ".x509",
        }
    }
}
