//! What the operator decides about resources.

use std::collections::BTreeMap;

use super::names::WhichBundles;
use crate::config::{Config, Names, SanMatcher};

/// The operator's words for well-known secrets, and whom each validation context accepts.
#[derive(Debug, Default)]
pub struct ResourceRules {
    pub(super) names: Names,
    accepted: BTreeMap<WhichBundles, Vec<SanMatcher>>,
}

impl ResourceRules {
    /// The rules of a configuration, or what is wrong with them.
    pub fn of(config: &Config) -> Result<Self, String> {
        let names = config.names.clone();
        let mut accepted = BTreeMap::new();
        for (name, matchers) in &config.validation {
            let which =
                WhichBundles::parse(name, &names).map_err(|e| format!("validation: {e}"))?;
            // Envoy takes an empty list for no condition.
            if matchers.is_empty() {
                return Err(format!("validation: `{name}` accepts nobody: name at least one URI"));
            }
            if accepted.insert(which, matchers.clone()).is_some() {
                return Err(format!(
                    "validation: `{name}` is another name of one that stands there"
                ));
            }
        }
        Ok(Self { names, accepted })
    }

    /// Whom a validation context of these bundles accepts, whatever its form; nothing: whomever the
    /// bundles vouch for.
    pub(super) fn accepted(&self, which: &WhichBundles) -> &[SanMatcher] {
        self.accepted.get(which).map(Vec::as_slice).unwrap_or_default()
    }
}
