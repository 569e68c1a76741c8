//! A policy's canonical form, and the digest of it.

use serde::Serialize;
use sha2::{Digest, Sha256};
use signet_policy::{
    DEFAULT_EXPIRY_GRACE, DEFAULT_SESSION_GRACE, HttpRule, IdPattern, PostgresRule,
};

use crate::document::PolicyDocument;
use crate::read::{Addressed, VERSION};

impl PolicyDocument {
    /// The policy digest: the SHA-256 of the canonical form, in hex. The same meaning has the same digest: order of
    /// rules and lists, names of workloads, tests, spelling and defaults that are written out don't count.
    pub fn digest(&self) -> String {
        hex::encode(Sha256::digest(self.to_canonical_json()))
    }

    /// The whole policy as canonical JSON: RFC 8785, sets sorted, everything expanded, defaults omitted.
    fn to_canonical_json(&self) -> Vec<u8> {
        // Fields stand in the order of their names.
        #[derive(Serialize)]
        struct Canonical<'d> {
            #[serde(skip_serializing_if = "Option::is_none")]
            expiry_grace: Option<u64>,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            http: Vec<Rule<'d, HttpRule>>,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            postgres: Vec<Rule<'d, PostgresRule>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            session_grace: Option<u64>,
            version: u64,
        }
        #[derive(Serialize)]
        struct Rule<'d, R> {
            rule: &'d R,
            to: &'d [IdPattern],
        }
        fn canonical<R>(rule: &Addressed<R>) -> Rule<'_, R> {
            Rule { rule: &rule.rule, to: &rule.to }
        }
        let mut http: Vec<_> = self.http_rules().iter().map(canonical).collect();
        http.sort_by(|a, b| a.rule.name.cmp(&b.rule.name));
        let mut postgres: Vec<_> = self.postgres_rules().iter().map(canonical).collect();
        postgres.sort_by(|a, b| a.rule.name.cmp(&b.rule.name));
        let canonical = Canonical {
            expiry_grace: unless(DEFAULT_EXPIRY_GRACE, self.expiry_grace()),
            http,
            postgres,
            session_grace: unless(DEFAULT_SESSION_GRACE, self.session_grace()),
            version: VERSION,
        };
        serde_json::to_vec(&canonical).expect("strings, integers and lists are always JSON")
    }
}

fn unless(default: u64, value: u64) -> Option<u64> {
    (value != default).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::PolicyDocument;

    fn canonical(policy: &str) -> String {
        let document = PolicyDocument::parse("p.yaml", policy)
            .unwrap_or_else(|faults| panic!("{:?}", faults.lines().collect::<Vec<_>>()));
        String::from_utf8(document.to_canonical_json()).unwrap()
    }

    const RULES: &str = r#"{"http":[{"rule":{"from":["spiffe://a.org/x","spiffe://b.org/x"],"methods":["GET","PUT"],"name":"a"},"to":["spiffe://a.org/api","spiffe://b.org/api"]}],"postgres":[{"rule":{"databases":["d"],"from":["**"],"login_role":"r","name":"p"},"to":["spiffe://a.org/db","spiffe://b.org/db"]}],"version":1}"#;

    #[test]
    fn defaults_are_omitted_written_or_not() {
        let head = "version: 1\ntrust_domain: a.org\n";
        assert_eq!(canonical(head), r#"{"version":1}"#);
        let lists = "trust_domain_aliases: [b.org]\nworkloads: {x: /x}\n";
        let http = "name: a, from: [x], to: [/api], methods: [PUT, GET]";
        let postgres = "name: p, from: ['**'], to: [/db], databases: [d], login_role: r";
        let short = format!("{head}{lists}http: [{{{http}}}]\npostgres: [{{{postgres}}}]\n");
        assert_eq!(canonical(&short), RULES);
        let long = format!(
            "{head}{lists}expiry_grace: 60s\nsession_grace: 15m\n\
             http: [{{{http}, effect: allow, mode: enforce}}]\n\
             postgres: [{{{postgres}, on_svid_expiry: end, replication: false}}]\n"
        );
        assert_eq!(canonical(&long), RULES);
        let others = format!("{head}expiry_grace: 61s\nsession_grace: 0s\n");
        assert_eq!(canonical(&others), r#"{"expiry_grace":61,"session_grace":0,"version":1}"#);
    }
}
