//! What a filter wrote for access logs.

use std::collections::BTreeMap;

/// A decision in the words of an access log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// `allow`, `deny` or `refuse`; empty where the filter wrote none.
    pub verdict: String,
    /// The rule that decided.
    pub rule: Option<String>,
    /// The role that goes with an allow.
    pub role: Option<String>,
    /// Why; of an allow by the HTTP filter, nothing.
    pub reason: Option<String>,
}

impl Noted {
    /// Reads the values `wasm.signet.…`. The HTTP filter writes an allow and its role as one, `allow as ROLE`.
    pub fn read(filter_state: &BTreeMap<String, Vec<u8>>) -> Self {
        let value = |key: &str| {
            let bytes = filter_state.get(&format!("wasm.signet.{key}"))?;
            Some(String::from_utf8_lossy(bytes).into_owned())
        };
        let decision = value("decision").unwrap_or_default();
        let (verdict, told) = match decision.split_once(" as ") {
            Some((verdict, role)) => (verdict.to_owned(), Some(role.to_owned())),
            None => (decision, None),
        };
        Self { verdict, rule: value("rule"), role: told.or(value("role")), reason: value("reason") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(values: &[(&str, &str)]) -> Noted {
        let own = |(key, value): &(&str, &str)| (format!("wasm.signet.{key}"), (*value).into());
        Noted::read(&values.iter().map(own).collect())
    }

    #[test]
    fn a_role_stands_behind_the_verdict_or_alone() {
        let expected = Noted {
            verdict: "allow".into(),
            rule: Some("reads".into()),
            role: Some("a as b".into()),
            reason: None,
        };
        assert_eq!(noted(&[("decision", "allow as a as b"), ("rule", "reads")]), expected);
        let alone = [("decision", "allow"), ("rule", "reads"), ("role", "a as b")];
        assert_eq!(noted(&alone), expected);
        let denied = noted(&[("decision", "deny"), ("reason", "no_rule")]);
        assert_eq!((denied.verdict.as_str(), denied.role), ("deny", None));
        assert_eq!(noted(&[]), Noted::default());
    }
}
