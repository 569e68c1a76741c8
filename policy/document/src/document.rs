//! One policy document, read whole.

use serde::Serialize;
use sha2::{Digest, Sha256};
use signet_policy::{
    DEFAULT_EXPIRY_GRACE, DEFAULT_SESSION_GRACE, HttpRule, IdPattern, PostgresRule, Slice, SpiffeId,
};

use crate::case::Case;
use crate::conflict::{http_ties, postgres_ties};
use crate::fault::{Fault, Faults};
use crate::node::{self, Node, Value, span_of};
use crate::read::{Addressed, IdentityError, Names, Reader, case, cases, http_rule, postgres_rule};

/// The newest version of the document that this build reads.
const VERSION: u64 = 1;

const KEYS: &[&str] = &[
    "version",
    "trust_domain",
    "trust_domain_aliases",
    "workloads",
    "http",
    "postgres",
    "expiry_grace",
    "session_grace",
    "tests",
];

/// A policy without faults.
#[derive(Clone, Debug)]
pub struct PolicyDocument {
    names: Names,
    expiry_grace: u64,
    session_grace: u64,
    http: Vec<Addressed<HttpRule>>,
    postgres: Vec<Addressed<PostgresRule>>,
    tests: Vec<Case>,
}

impl PolicyDocument {
    /// Reads a document. `name` is what faults call it, usually its file.
    ///
    /// # Errors
    /// All faults at once, each with where it stands, what was found and what would be accepted.
    pub fn parse(name: &str, text: &str) -> Result<Self, Faults> {
        read_text(name, text, Self::read)
    }

    /// Reads a document that should be UTF-8.
    ///
    /// # Errors
    /// As [`parse`](Self::parse); and one fault where the bytes are no UTF-8.
    pub fn parse_bytes(name: &str, bytes: &[u8]) -> Result<Self, Faults> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::parse(name, text),
            Err(error) => {
                let at = error.valid_up_to();
                let readable = String::from_utf8_lossy(bytes.get(..at).unwrap_or_default());
                let fault = Fault::new(
                    at..at,
                    format!("byte {at} of the document is no UTF-8"),
                    "after this",
                    "a policy is written in UTF-8",
                );
                Err(Faults::new(name, &readable, vec![fault]))
            }
        }
    }

    fn read(reader: &mut Reader<'_>, root: &Node) -> Option<Self> {
        let keys = reader.keys(root, "a policy", KEYS)?;
        if let Some(version) = reader.require(&keys, "version") {
            reader.integer(version, "version", VERSION, VERSION);
        }
        let mut names = Names::default();
        if let Some(domain) = reader.require(&keys, "trust_domain") {
            names.trust_domains.extend(reader.trust_domain(domain, "trust_domain"));
        }
        if let Some(aliases) = keys.get("trust_domain_aliases") {
            let read = |reader: &mut Reader<'_>, item: &Node| {
                reader.trust_domain(item, "trust_domain_aliases")
            };
            for alias in reader.list(aliases, "trust_domain_aliases", read).unwrap_or_default() {
                if names.trust_domains.contains(&alias) {
                    let message = format!("`trust_domain_aliases` names `{alias}` itself");
                    let help = "aliases are other trust domains";
                    reader.fault(Fault::new(span_of(aliases), message, "not an alias", help));
                }
                names.trust_domains.push(alias);
            }
        }
        if let Some(workloads) = keys.get("workloads") {
            reader.workloads(workloads, &mut names);
        }
        let expiry_grace =
            keys.get("expiry_grace").and_then(|node| reader.duration(node, "expiry_grace", 0));
        let session_grace =
            keys.get("session_grace").and_then(|node| reader.duration(node, "session_grace", 0));
        let http = reader.rules(keys.get("http"), "http", &names, http_rule);
        let postgres = reader.rules(keys.get("postgres"), "postgres", &names, postgres_rule);
        let tests = keys.get("tests").map(|node| cases(reader, node, &names)).unwrap_or_default();

        let ties = http_ties(&http).into_iter().chain(postgres_ties(&postgres));
        ties.for_each(|fault| reader.fault(fault));
        Some(Self {
            names,
            expiry_grace: expiry_grace.unwrap_or(DEFAULT_EXPIRY_GRACE),
            session_grace: session_grace.unwrap_or(DEFAULT_SESSION_GRACE),
            http,
            postgres,
            tests,
        })
    }

    /// All that concerns one destination workload, with everything expanded.
    pub fn slice_for(&self, workload: SpiffeId<'_>) -> Slice {
        fn for_it<R: Clone>(rules: &[Addressed<R>], workload: SpiffeId<'_>) -> Vec<R> {
            let named = rules.iter().filter(|rule| rule.to.iter().any(|to| to.matches(workload)));
            named.map(|rule| rule.rule.clone()).collect()
        }
        Slice {
            expiry_grace: self.expiry_grace,
            session_grace: self.session_grace,
            http: for_it(&self.http, workload),
            postgres: for_it(&self.postgres, workload),
            ..Slice::deny_all(workload.as_str())
        }
    }

    /// The named workloads, and their SPIFFE IDs or patterns as they are written.
    pub fn workloads(&self) -> impl Iterator<Item = (&str, &str)> {
        self.names.workloads.iter().filter_map(|(name, id)| Some((name.as_str(), id.as_deref()?)))
    }

    /// The SPIFFE ID that `entry` stands for: a workload's name, `/…` in the trust domain, or a
    /// whole SPIFFE ID.
    ///
    /// # Errors
    /// Where it isn't one identity.
    pub fn identity(&self, entry: &str) -> Result<String, IdentityError> {
        // A document without faults has no faulty workloads.
        self.names.concrete(entry).map(Option::unwrap_or_default)
    }

    /// The number of rules, over HTTP and Postgres.
    pub const fn rule_count(&self) -> usize {
        self.http.len() + self.postgres.len()
    }

    /// The trust domain that `/…` is in.
    pub fn trust_domain(&self) -> &str {
        self.names.trust_domains.first().map_or("", String::as_str)
    }

    /// The cases under `tests:`.
    pub fn tests(&self) -> &[Case] {
        &self.tests
    }

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
        let mut http: Vec<_> = self.http.iter().map(canonical).collect();
        http.sort_by(|a, b| a.rule.name.cmp(&b.rule.name));
        let mut postgres: Vec<_> = self.postgres.iter().map(canonical).collect();
        postgres.sort_by(|a, b| a.rule.name.cmp(&b.rule.name));
        let canonical = Canonical {
            expiry_grace: self.expiry_grace,
            http,
            postgres,
            session_grace: self.session_grace,
            version: VERSION,
        };
        serde_json::to_vec(&canonical).expect("strings, integers and lists are always JSON")
    }

    /// Reads a file of cases: a list with the keys of `tests:`, whose names are this document's.
    ///
    /// # Errors
    /// All faults at once.
    pub fn parse_cases(&self, name: &str, text: &str) -> Result<Vec<Case>, Faults> {
        read_text(name, text, |reader, root| Some(cases(reader, root, &self.names)))
    }

    /// Reads one case: a mapping with the keys of `tests:`, in YAML or JSON.
    ///
    /// # Errors
    /// All faults at once.
    pub fn parse_case(&self, name: &str, text: &str) -> Result<Case, Faults> {
        read_text(name, text, |reader, root| case(reader, root, &self.names))
    }
}

/// Reads a text, or tells all its faults.
fn read_text<T>(
    name: &str,
    text: &str,
    read: impl FnOnce(&mut Reader<'_>, &Node) -> Option<T>,
) -> Result<T, Faults> {
    let mut reader = Reader::new(text);
    let found = match node::parse(text) {
        Ok(root) => read(&mut reader, &root),
        Err(fault) => {
            reader.fault(*fault);
            None
        }
    };
    let faults = reader.into_faults();
    match found {
        Some(found) if faults.is_empty() => Ok(found),
        _ => Err(Faults::new(name, text, faults)),
    }
}

impl Reader<'_> {
    fn trust_domain(&mut self, node: &Node, what: &str) -> Option<String> {
        self.parsed(node, what, |text| match SpiffeId::parse(&format!("spiffe://{text}/x")) {
            Ok(id) if id.trust_domain() == text => Ok(text),
            _ => Err("a trust domain is 1 to 255 of the characters `a-z`, `0-9`, `.`, `-` and `_`, such as \
                      `example.org`"),
        })
    }

    /// Reads a list of rules; the faulty ones are left out.
    fn rules<R>(
        &mut self,
        node: Option<&Node>,
        what: &str,
        names: &Names,
        read: fn(&mut Self, &Node, &Names) -> Option<Addressed<R>>,
    ) -> Vec<Addressed<R>> {
        let Some(node) = node else { return Vec::new() };
        let Value::List(items) = &node.value else {
            self.wrong_kind(node, what, "a list", "a list of rules is accepted");
            return Vec::new();
        };
        items.iter().filter_map(|item| read(self, item, names)).collect()
    }
}
