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
mod tests {
    use spiffe::{SpiffeId, TrustDomain};

    use super::ValidationForm::{Plain, Spiffe};
    use super::{ExtensionName, LONGEST, SecretName, WhichBundles, WhichSvid};
    use crate::config::Names;
    use crate::policy::FilterKind;

    fn id(text: &str) -> SpiffeId {
        SpiffeId::new(text).expect("an ID")
    }

    fn domains(names: &[&str]) -> WhichBundles {
        let domains = names.iter().map(|name| TrustDomain::new(name).expect("a trust domain"));
        WhichBundles::Of(domains.collect())
    }

    fn jwt(audience: &[&str], id: Option<SpiffeId>) -> SecretName {
        SecretName::Jwt { audience: audience.iter().map(|&a| a.to_owned()).collect(), id }
    }

    #[test]
    fn every_secret_name_means_one_thing() {
        let bundle = |which, form| SecretName::Bundle { which, form };
        for (text, expected) in [
            ("default", SecretName::Svid(WhichSvid::Default)),
            ("ROOTCA", bundle(WhichBundles::Default, None)),
            ("ROOTCA.x509", bundle(WhichBundles::Default, Some(Plain))),
            ("ROOTCA.spiffe", bundle(WhichBundles::Default, Some(Spiffe))),
            ("ALL", bundle(WhichBundles::All, None)),
            ("ALL.spiffe", bundle(WhichBundles::All, Some(Spiffe))),
            ("spiffe://a.org/ns/x", SecretName::Svid(WhichSvid::Id(id("spiffe://a.org/ns/x")))),
            ("spiffe://a.org", bundle(domains(&["a.org"]), None)),
            // The name of a trust domain may end so.
            ("spiffe://a.org.x509", bundle(domains(&["a.org.x509"]), None)),
            ("svid?hint=internal", SecretName::Svid(WhichSvid::Hint("internal".into()))),
            ("svid?hint=a%26b=c", SecretName::Svid(WhichSvid::Hint("a&b=c".into()))),
            ("bundle?td=a.org", bundle(domains(&["a.org"]), None)),
            ("bundle?td=b.org,a.org", bundle(domains(&["a.org", "b.org"]), None)),
            ("bundle.x509?td=a.org", bundle(domains(&["a.org"]), Some(Plain))),
            ("bundle?td=a.org.x509", bundle(domains(&["a.org.x509"]), None)),
            ("jwt?aud=api", jwt(&["api"], None)),
            ("jwt?aud=https://api/v1?x=1", jwt(&["https://api/v1?x=1"], None)),
            ("jwt?aud=b,a%2Cc%25", jwt(&["a,c%", "b"], None)),
            ("jwt?id=spiffe://a.org/x&aud=%C3%A9", jwt(&["é"], Some(id("spiffe://a.org/x")))),
        ] {
            assert_eq!(SecretName::parse(text, &Names::default()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn the_operators_words_come_first() {
        let words = Names {
            default_svid: "tls".into(),
            default_bundle: "ca.x509".into(),
            all_bundles: "bundle".into(),
        };
        for (text, which, form) in [
            ("ca.x509", WhichBundles::Default, None),
            ("ca.x509.spiffe", WhichBundles::Default, Some(Spiffe)),
            ("bundle", WhichBundles::All, None),
            ("bundle.x509", WhichBundles::All, Some(Plain)),
            ("bundle?td=a.org", domains(&["a.org"]), None),
        ] {
            let expected = SecretName::Bundle { which, form };
            assert_eq!(SecretName::parse(text, &words), Ok(expected), "{text}");
        }
        assert!(SecretName::parse("ROOTCA", &words).is_err());
    }

    #[test]
    fn a_fault_names_what_was_found_and_what_is_accepted() {
        for (text, parts) in [
            ("", &["``", "default, ROOTCA, ALL", "jwt?aud="][..]),
            ("defualt", &["`defualt`"]),
            ("default.x509", &["`default.x509`"]),
            ("ROOTCA.pem", &["`ROOTCA.pem`"]),
            ("ROOTCA.x509.x509", &["ROOTCA.x509.x509"]),
            ("svid.x509?hint=a", &["`svid.x509?hint=a`"]),
            ("jwt.spiffe?aud=a", &["jwt.spiffe"]),
            ("svid?hint", &["`hint`", "key=value"]),
            ("svid?id=a", &["`id=a`", "hint"]),
            ("svid?hint=a&hint=b", &["`hint` stands twice"]),
            ("svid?hint=", &["value ``"]),
            ("svid?hint=a%2", &["`a%2`", "%25"]),
            ("svid?hint=a%zz", &["`a%zz`"]),
            ("svid?hint=%FF", &["UTF-8"]),
            ("svid?hint=a%0Ab", &["control"]),
            ("svid?hint=%é", &["%25"]),
            ("bundle?td=a.org,a.org", &["`a.org` stands twice"]),
            ("bundle?td=a.org,", &["value ``"]),
            ("bundle?td=spiffe://a.org", &["`spiffe://a.org` is no trust domain"]),
            ("bundle?td=A.org", &["`A.org`", "lower-case"]),
            ("jwt?id=spiffe://a.org/x", &["jwt?aud="]),
            ("jwt?aud=a&id=spiffe://a.org", &["SPIFFE ID", "no path"]),
            ("spiffe://A.org/x", &["lower-case"]),
            ("spiffe://a.org/", &["SPIFFE ID"]),
            ("SPIFFE://a.org/x", &["names nothing"]),
        ] {
            let fault = SecretName::parse(text, &Names::default()).expect_err(text).to_string();
            for part in parts {
                assert!(fault.contains(part), "{text}: `{part}` is missing in: {fault}");
            }
        }
        let long = format!("svid?hint={}", "a".repeat(LONGEST));
        assert!(SecretName::parse(&long, &Names::default()).is_err());
    }

    #[test]
    fn an_extension_is_a_filter_and_perhaps_another_identity() {
        for (text, filter, of) in [
            ("signet.http", FilterKind::Http, None),
            ("signet.postgres", FilterKind::Postgres, None),
            ("signet.http?id=spiffe://a.org/x", FilterKind::Http, Some(id("spiffe://a.org/x"))),
        ] {
            assert_eq!(ExtensionName::parse(text), Ok(ExtensionName { filter, id: of }), "{text}");
        }
        for text in ["signet", "signet.http?", "signet.http?id=", "signet.http?id=/x", "default"] {
            assert!(ExtensionName::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_rule_for_a_bundle_names_it_without_a_form() {
        let parse = |text| WhichBundles::parse(text, &Names::default());
        assert_eq!(parse("ROOTCA"), Ok(WhichBundles::Default));
        assert_eq!(parse("bundle?td=b.org,a.org"), parse("bundle?td=a.org,b.org"));
        for text in ["ROOTCA.x509", "default", "spiffe://a.org/x", "nothing"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
