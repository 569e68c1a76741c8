//! A policy's canonical form, and the digest of it.

use serde::Serialize;
use sha2::{Digest, Sha256};
use signet_policy::{HttpRule, IdPattern, PostgresRule};

use crate::document::PolicyDocument;
use crate::read::{Addressed, VERSION};

impl PolicyDocument {
    /// The SHA-256 of the canonical form, in hex. The same meaning has the same digest: order of
    /// rules and lists, names of workloads, tests and spelling don't count.
    pub fn digest(&self) -> String {
        hex::encode(Sha256::digest(self.to_canonical_json()))
    }

    /// The whole policy as canonical JSON: RFC 8785, sets sorted, everything expanded.
    fn to_canonical_json(&self) -> Vec<u8> {
        // Fields stand in the order of their names.
        #[derive(Serialize)]
        struct Canonical<'d> {
            expiry_grace: u64,
            http: Vec<Rule<'d, HttpRule>>,
            postgres: Vec<Rule<'d, PostgresRule>>,
            session_grace: u64,
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
            expiry_grace: self.expiry_grace(),
            http,
            postgres,
            session_grace: self.session_grace(),
            version: VERSION,
        };
        serde_json::to_vec(&canonical).expect("strings, integers and lists are always JSON")
    }
}
