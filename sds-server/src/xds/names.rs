//! The grammar of resource names.
//!
//! ```text
//! secret     = default-svid                              the default SVID
//!            | default-bundle [form]                     the bundle of its trust domain
//!            | all-bundles [form]                        every bundle
//!            | "spiffe://" domain "/" path               that SVID
//!            | "spiffe://" domain                        that bundle
//!            | "svid?hint=" value                        the SVID to which the source gives that hint
//!            | "bundle" [form] "?td=" list               the bundles of these trust domains
//!            | "jwt?aud=" list ["&id=" value]            a JWT-SVID for these audiences
//! extension  = ("signet.http" | "signet.postgres") ["?id=" value]
//! form       = ".spiffe" | ".x509"
//! list       = value *("," value)
//! ```
//!
//! The first three are words that the operator may change; they are compared whole and first.
//! Parameters stand in any order and once each; so do the values of a list. In a value `%`, `&` and
//! `,` are written `%25`, `%26` and `%2C`, and any other byte may be written that way. A form
//! belongs to the word before the `?`, and to no trust domain ID, for `.x509` may end a trust
//! domain's name.

use std::collections::BTreeSet;

use spiffe::{SpiffeId, TrustDomain};

use super::form::ValidationForm;
use crate::config::Names;
use crate::policy::FilterKind;

/// The longest name that is looked at, in bytes: a SPIFFE ID has at most 2,048.
const LONGEST: usize = 4096;
const ID_SCHEME: &str = "spiffe://";

/// What a secret's name asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecretName {
    Svid(WhichSvid),
    Bundle { which: WhichBundles, form: Option<ValidationForm> },
    Jwt { audience: BTreeSet<String>, id: Option<SpiffeId> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WhichSvid {
    Default,
    Id(SpiffeId),
    Hint(String),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum WhichBundles {
    /// Of the default SVID's trust domain.
    Default,
    All,
    Of(BTreeSet<TrustDomain>),
}

/// What a filter configuration's name asks for: the slice of the default SVID, or of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExtensionName {
    pub(crate) filter: FilterKind,
    pub(crate) id: Option<SpiffeId>,
}

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameError {
    #[error("a name of {found} bytes, accepted are {LONGEST}")]
    TooLong { found: usize },
    #[error("`{found}` names nothing, accepted are {accepted}")]
    Unknown { found: String, accepted: String },
    #[error("parameter `{found}`, accepted as `key=value` are {accepted}")]
    Parameter { found: String, accepted: &'static str },
    #[error("`{0}` stands twice, accepted is once")]
    Repeated(String),
    #[error("`{word}` without `{missing}=`, accepted is `{word}?{missing}=…`")]
    Missing { word: &'static str, missing: &'static str },
    #[error(
        "value `{0}`: accepted is UTF-8 without control characters, `%`, `&`, `,` as %25, %26, %2C; never empty"
    )]
    Value(String),
    #[error("`{found}` is no {accepted}: {reason}")]
    Id { found: String, accepted: &'static str, reason: String },
}

impl SecretName {
    /// Reads a name; `words` are the operator's.
    pub(crate) fn parse(text: &str, words: &Names) -> Result<Self, NameError> {
        check_length(text)?;
        if text == words.default_svid {
            return Ok(Self::Svid(WhichSvid::Default));
        }
        if let Some((which, form)) = well_known_bundle(text, words) {
            return Ok(Self::Bundle { which, form });
        }
        if let Some(rest) = text.strip_prefix(ID_SCHEME) {
            return Ok(if rest.contains('/') {
                Self::Svid(WhichSvid::Id(spiffe_id(text)?))
            } else {
                let domain = trust_domain(rest)?;
                Self::Bundle { which: WhichBundles::Of([domain].into()), form: None }
            });
        }
        let unknown = || NameError::Unknown {
            found: text.into(),
            accepted: format!(
                "{}, {}, {}, SPIFFE IDs, trust domain IDs, svid?hint=, bundle?td=, jwt?aud=",
                words.default_svid, words.default_bundle, words.all_bundles
            ),
        };
        let (word, parameters) = text.split_once('?').ok_or_else(unknown)?;
        match with_form(word) {
            ("svid", None) => {
                let [hint] = values(parameters, ["hint"], "hint")?;
                let hint = hint.ok_or(NameError::Missing { word: "svid", missing: "hint" })?;
                Ok(Self::Svid(WhichSvid::Hint(decoded(hint)?)))
            }
            ("bundle", form) => {
                let [domains] = values(parameters, ["td"], "td")?;
                let domains =
                    domains.ok_or(NameError::Missing { word: "bundle", missing: "td" })?;
                let domains = list(domains, |domain| trust_domain(&domain))?;
                Ok(Self::Bundle { which: WhichBundles::Of(domains), form })
            }
            ("jwt", None) => {
                let [audience, id] = values(parameters, ["aud", "id"], "aud, id")?;
                let audience =
                    audience.ok_or(NameError::Missing { word: "jwt", missing: "aud" })?;
                let id = id.map(|id| spiffe_id(&decoded(id)?)).transpose()?;
                Ok(Self::Jwt { audience: list(audience, Ok)?, id })
            }
            _ => Err(unknown()),
        }
    }
}

impl ExtensionName {
    /// Reads a name.
    pub(crate) fn parse(text: &str) -> Result<Self, NameError> {
        check_length(text)?;
        let (word, parameters) =
            text.split_once('?').map_or((text, None), |(word, rest)| (word, Some(rest)));
        let filter = FilterKind::ALL
            .into_iter()
            .find(|filter| filter.resource_name() == word)
            .ok_or_else(|| NameError::Unknown {
                found: text.into(),
                accepted: FilterKind::ALL.map(FilterKind::resource_name).join(", "),
            })?;
        let id = parameters.map(|parameters| {
            let [id] = values(parameters, ["id"], "id")?;
            let id =
                id.ok_or(NameError::Missing { word: filter.resource_name(), missing: "id" })?;
            spiffe_id(&decoded(id)?)
        });
        Ok(Self { filter, id: id.transpose()? })
    }
}

impl WhichBundles {
    /// Reads the name of a bundle, without a form.
    pub(crate) fn parse(text: &str, words: &Names) -> Result<Self, NameError> {
        match SecretName::parse(text, words)? {
            SecretName::Bundle { which, form: None } => Ok(which),
            _ => Err(NameError::Id {
                found: text.into(),
                accepted: "name of a bundle",
                reason: format!(
                    "accepted are {}, {}, trust domain IDs and bundle?td=, without .spiffe or .x509",
                    words.default_bundle, words.all_bundles
                ),
            }),
        }
    }
}

fn well_known_bundle(text: &str, words: &Names) -> Option<(WhichBundles, Option<ValidationForm>)> {
    [(text, None), with_form(text)].into_iter().find_map(|(word, form)| {
        let which = if word == words.default_bundle {
            WhichBundles::Default
        } else if word == words.all_bundles {
            WhichBundles::All
        } else {
            return None;
        };
        Some((which, form))
    })
}

fn with_form(word: &str) -> (&str, Option<ValidationForm>) {
    [ValidationForm::Spiffe, ValidationForm::Plain]
        .into_iter()
        .find_map(|form| Some((word.strip_suffix(form.suffix())?, Some(form))))
        .unwrap_or((word, None))
}

fn check_length(text: &str) -> Result<(), NameError> {
    if text.len() > LONGEST { Err(NameError::TooLong { found: text.len() }) } else { Ok(()) }
}

/// The values of `keys` as they are written.
fn values<'a, const N: usize>(
    parameters: &'a str,
    keys: [&'static str; N],
    accepted: &'static str,
) -> Result<[Option<&'a str>; N], NameError> {
    let mut values = [None; N];
    for parameter in parameters.split('&') {
        let unknown = || NameError::Parameter { found: parameter.into(), accepted };
        let (key, value) = parameter.split_once('=').ok_or_else(unknown)?;
        let place = keys.iter().position(|known| *known == key).ok_or_else(unknown)?;
        if values[place].replace(value).is_some() {
            return Err(NameError::Repeated(key.into()));
        }
    }
    Ok(values)
}

fn list<T: Ord>(
    values: &str,
    parse: impl Fn(String) -> Result<T, NameError>,
) -> Result<BTreeSet<T>, NameError> {
    let mut set = BTreeSet::new();
    for value in values.split(',') {
        if !set.insert(parse(decoded(value)?)?) {
            return Err(NameError::Repeated(value.into()));
        }
    }
    Ok(set)
}

fn decoded(value: &str) -> Result<String, NameError> {
    let fault = || NameError::Value(value.into());
    let mut parts = value.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.as_bytes().split_at_checked(2).ok_or_else(fault)?;
        bytes.extend(hex::decode(digits).map_err(|_| fault())?);
        bytes.extend(rest);
    }
    let text = String::from_utf8(bytes).map_err(|_| fault())?;
    if text.is_empty() || text.contains(char::is_control) { Err(fault()) } else { Ok(text) }
}

/// A SPIFFE ID in its one spelling.
fn spiffe_id(text: &str) -> Result<SpiffeId, NameError> {
    let fault = |reason| NameError::Id { found: text.into(), accepted: "SPIFFE ID", reason };
    let id = SpiffeId::new(text).map_err(|e| fault(e.to_string()))?;
    if id.path().is_empty() {
        return Err(fault("it has no path".into()));
    }
    if id.to_string() == text {
        Ok(id)
    } else {
        Err(fault("its one spelling is lower-case".into()))
    }
}

/// A trust domain's name in its one spelling.
fn trust_domain(text: &str) -> Result<TrustDomain, NameError> {
    let fault = |reason| NameError::Id { found: text.into(), accepted: "trust domain", reason };
    let domain = TrustDomain::new(text).map_err(|e| fault(e.to_string()))?;
    if domain.as_str() == text {
        Ok(domain)
    } else {
        Err(fault("its one spelling is lower-case".into()))
    }
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
