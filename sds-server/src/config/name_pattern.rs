//! Names that operators describe by one of their ends.

use schemars::JsonSchema;
use serde::Deserialize;

/// A name of a secret or an extension configuration, or all that begin (`spiffe://a/*`) or end
/// (`*.example.org`) alike, or all (`*`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub enum NamePattern {
    /// This name.
    Exactly(String),
    /// Names that begin so; all names where it is empty.
    Beginning(String),
    /// Names that end so.
    Ending(String),
}

impl NamePattern {
    /// Whether the pattern holds `name`.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exactly(whole) => name == whole,
            Self::Beginning(start) => name.starts_with(start.as_str()),
            Self::Ending(end) => name.ends_with(end.as_str()),
        }
    }

    /// The one name that the pattern holds; `None` where there are many.
    pub fn only(&self) -> Option<&str> {
        match self {
            Self::Exactly(name) => Some(name),
            Self::Beginning(_) | Self::Ending(_) => None,
        }
    }

    /// Whether it holds every name.
    pub fn is_everything(&self) -> bool {
        matches!(self, Self::Beginning(start) if start.is_empty())
    }
}

impl TryFrom<String> for NamePattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let pattern = match (text.strip_suffix('*'), text.strip_prefix('*')) {
            (Some(start), _) => Self::Beginning(start.into()),
            (None, Some(end)) => Self::Ending(end.into()),
            (None, None) => Self::Exactly(text.clone()),
        };
        let (Self::Exactly(rest) | Self::Beginning(rest) | Self::Ending(rest)) = &pattern;
        if text.is_empty() || rest.contains('*') {
            return Err(format!(
                "name `{text}`: accepted are a name, and an end of names with `*` in place of the rest"
            ));
        }
        Ok(pattern)
    }
}

#[cfg(test)]
mod tests {
    use super::NamePattern;

    #[test]
    fn a_pattern_is_a_name_or_one_end_of_it() {
        for (pattern, matching, others) in [
            ("default", &["default"][..], &["default2", "", "*"][..]),
            ("spiffe://a/*", &["spiffe://a/", "spiffe://a/b/c"], &["spiffe://ab", "spiffe://a"]),
            ("*.a.org", &["b.a.org", ".a.org"], &["a.org", "b.a.orgs"]),
            ("*", &["ROOTCA", ""], &[]),
        ] {
            let parsed = NamePattern::try_from(pattern.to_owned()).expect(pattern);
            assert!(matching.iter().all(|name| parsed.matches(name)), "{pattern}");
            assert!(!others.iter().any(|name| parsed.matches(name)), "{pattern}");
            assert_eq!(parsed.is_everything(), pattern == "*");
        }
        for text in ["", "**", "a*b", "*a*"] {
            assert!(NamePattern::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
