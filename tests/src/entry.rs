//! An entry of SPIRE's server: which program gets which identity.

use std::path::Path;

use serde_json::{Value, json};

use crate::{Account, TRUST_DOMAIN, Workload};

/// Who is given an SVID by SPIRE.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The entry's name in SPIRE.
    pub id: String,
    /// Whose SVID it is.
    pub spiffe_id: String,
    /// Who gets it, as SPIRE's Unix attestor selects: `path:/bin/x`, `uid:1000`.
    pub selector: String,
    /// The SVID's life in seconds.
    pub svid_ttl: u32,
    /// DNS names in the SVID; changing them makes a new one.
    pub dns_names: Vec<String>,
    /// What the SVID is for, in the operator's words; empty for nothing.
    pub hint: String,
    /// Other trust domains that it learns the bundles of.
    pub federates_with: Vec<String>,
}

impl Entry {
    /// A program that acts for a workload.
    pub fn new(workload: Workload, program: &Path, svid_ttl: u32) -> Self {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        Self {
            id: format!("{}-{name}", workload.name()),
            spiffe_id: workload.spiffe_id(),
            selector: format!("path:{}", program.display()),
            svid_ttl,
            dns_names: Vec::new(),
            hint: String::new(),
            federates_with: Vec::new(),
        }
    }

    /// The same in another trust domain.
    #[must_use]
    pub fn within(mut self, trust_domain: &str) -> Self {
        self.spiffe_id = self.spiffe_id.replacen(TRUST_DOMAIN, trust_domain, 1);
        self
    }

    /// The same, which learns the bundle of another trust domain too.
    #[must_use]
    pub fn federated(mut self, trust_domain: &str) -> Self {
        self.federates_with = vec![format!("spiffe://{trust_domain}")];
        self
    }

    /// Another identity for a program, by the path of its SPIFFE ID.
    pub fn named(id: &str, path: &str, program: &Path, svid_ttl: u32) -> Self {
        let spiffe_id = format!("spiffe://{TRUST_DOMAIN}{path}");
        Self { id: id.to_owned(), spiffe_id, ..Self::new(Workload::Api, program, svid_ttl) }
    }

    /// The identity of all processes of a user.
    pub fn of_user(account: &Account, svid_ttl: u32) -> Self {
        let (uid, path) = (account.uid, format!("/user/{}", account.name));
        let entry = Self::named(&account.name, &path, Path::new(""), svid_ttl);
        Self { selector: format!("uid:{uid}"), ..entry }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hinted(self, hint: &str) -> Self {
        Self { hint: hint.to_owned(), ..self }
    }

    /// The same with a DNS name.
    #[must_use]
    pub fn dns(mut self, name: &str) -> Self {
        self.dns_names = vec![name.to_owned()];
        self
    }

    pub(crate) fn json(&self, parent: &str) -> Value {
        json!({
            "entry_id": self.id,
            "parent_id": parent,
            "spiffe_id": self.spiffe_id,
            "x509_svid_ttl": self.svid_ttl,
            "jwt_svid_ttl": self.svid_ttl,
            "dns_names": self.dns_names,
            "hint": self.hint,
            "federates_with": self.federates_with,
            "selectors": [{ "type": "unix", "value": self.selector }],
        })
    }
}
