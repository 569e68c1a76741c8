//! One policy, read whole from one document or several.

use std::borrow::Cow;

use signet_policy::{
    DEFAULT_EXPIRY_GRACE, DEFAULT_SESSION_GRACE, HttpRule, Mode, PostgresRule, Slice, SpiffeId,
};

use crate::analysis::{http_ties, postgres_ties, too_many_claims};
use crate::case::Case;
use crate::fault::{Fault, Faults, Located, MAX_TOLD, Untold};
use crate::node::{self, Node};
use crate::read::{Addressed, IdentityError, Names, Reader, case, cases, http_rule, postgres_rule};
use crate::source::{Place, Source, Text};

pub(crate) const KEYS: &[&str] = &[
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
    sources: Vec<Source>,
    names: Names,
    expiry_grace: u64,
    session_grace: u64,
    http: Vec<Addressed<HttpRule>>,
    postgres: Vec<Addressed<PostgresRule>>,
    tests: Vec<Case>,
    /// Workloads that no rule and no test names.
    unused_workloads: Vec<(String, Place)>,
}

impl PolicyDocument {
    /// Reads a document. `name` is what faults call it, usually its file.
    ///
    /// # Errors
    /// All faults at once, each with where it stands, what was found and what would be accepted.
    pub fn parse(name: &str, text: &str) -> Result<Self, Faults> {
        Self::parse_sources(name, vec![Text::shared(name, text.to_owned())])
    }

    /// Reads a document that should be UTF-8.
    ///
    /// # Errors
    /// As [`parse`](Self::parse); and one fault where the bytes are no UTF-8.
    pub fn parse_bytes(name: &str, bytes: Vec<u8>) -> Result<Self, Faults> {
        Self::parse_files(name, vec![(name.to_owned(), bytes)])
    }

    /// Reads one policy of several documents, each with its name. All say the same `version` and
    /// `trust_domain`; what they name, they name once among them.
    ///
    /// # Errors
    /// All faults of all documents at once.
    pub fn parse_files(name: &str, files: Vec<(String, Vec<u8>)>) -> Result<Self, Faults> {
        let mut faults = Vec::new();
        let mut sources = Vec::new();
        for (index, (name, bytes)) in files.into_iter().enumerate() {
            let text = String::from_utf8(bytes).unwrap_or_else(|error| {
                let at = error.utf8_error().valid_up_to();
                let fault = Fault::new(
                    at..at,
                    format!("byte {at} of the document is no UTF-8"),
                    "after this",
                    "a policy is written in UTF-8",
                );
                faults.push(Fault { file: index, ..fault });
                let readable = error.as_bytes().get(..at).unwrap_or_default();
                String::from_utf8_lossy(readable).into_owned()
            });
            sources.push(Text::shared(&name, text));
        }
        if faults.is_empty() {
            return Self::parse_sources(name, sources);
        }
        Err(Faults::new(name, &sources, faults, Untold::default()))
    }

    fn parse_sources(name: &str, sources: Vec<Source>) -> Result<Self, Faults> {
        let mut reader = Reader::new(&sources);
        let mut roots = Vec::with_capacity(sources.len());
        for (file, source) in sources.iter().enumerate() {
            reader.turn_to(file);
            match node::parse(source.text()) {
                Ok(root) => roots.push((file, root)),
                Err(fault) => reader.fault(*fault),
            }
        }
        // One that can't be read may have the names that the others use.
        let found =
            (roots.len() == sources.len()).then(|| Self::read(&mut reader, &roots)).flatten();
        let (faults, untold) = reader.into_faults();
        match found {
            Some(found) if faults.is_empty() => Ok(Self { sources, ..found }),
            _ => Err(Faults::new(name, &sources, faults, untold)),
        }
    }

    fn read(reader: &mut Reader<'_>, roots: &[(usize, Node<'_>)]) -> Option<Self> {
        let mut files = Vec::with_capacity(roots.len());
        for (file, root) in roots {
            reader.turn_to(*file);
            files.push((*file, reader.keys(root, "a policy", KEYS)?));
        }
        let names = reader.names(&files);
        let mut document = Self {
            sources: Vec::new(),
            names,
            expiry_grace: reader.agreed_duration(&files, "expiry_grace", DEFAULT_EXPIRY_GRACE),
            session_grace: reader.agreed_duration(&files, "session_grace", DEFAULT_SESSION_GRACE),
            http: Vec::new(),
            postgres: Vec::new(),
            tests: Vec::new(),
            unused_workloads: Vec::new(),
        };
        let names = &document.names;
        for (file, keys) in &files {
            reader.turn_to(*file);
            document.http.extend(reader.rules(keys.get("http"), "http", names, http_rule));
            let postgres = reader.rules(keys.get("postgres"), "postgres", names, postgres_rule);
            document.postgres.extend(postgres);
            let tests = keys.get("tests").map(|node| cases(reader, node, names));
            document.tests.extend(tests.unwrap_or_default());
        }
        let unused = |(name, _): &(&String, &Place)| !reader.used_workloads.contains(*name);
        let unused = document.names.places.iter().filter(unused);
        document.unused_workloads = unused.map(|(n, place)| (n.clone(), place.clone())).collect();
        let mut between = http_ties(&document.http, MAX_TOLD);
        between.extend(postgres_ties(&document.postgres, MAX_TOLD));
        let counts_all = between.len() < MAX_TOLD;
        between.extend(too_many_claims(&document.http));
        for fault in between {
            reader.later_fault(fault);
        }
        if !counts_all {
            reader.stop_counting();
        }
        Some(document)
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
        self.names
            .workloads
            .iter()
            .filter_map(|(name, id)| Some((name.as_str(), id.as_ref()?.written.as_str())))
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

    /// The rules about requests, in the order of the texts.
    pub fn http_rules(&self) -> &[Addressed<HttpRule>] {
        &self.http
    }

    /// The rules about connections to Postgres, in the order of the texts.
    pub fn postgres_rules(&self) -> &[Addressed<PostgresRule>] {
        &self.postgres
    }

    /// The name of the text in which something stands, and the line, from 1.
    pub fn position(&self, place: &Place) -> (&str, usize) {
        self.sources
            .get(place.file)
            .map_or(("", 0), |source| (source.name(), source.position(place.span.start).0))
    }

    /// Workloads that no rule and no test names, and where they stand.
    pub(crate) fn unused_workloads(&self) -> &[(String, Place)] {
        &self.unused_workloads
    }

    /// Seconds for which a connection outlives its certificate.
    pub const fn expiry_grace(&self) -> u64 {
        self.expiry_grace
    }

    /// Seconds for which a Postgres session outlives its certificate.
    pub const fn session_grace(&self) -> u64 {
        self.session_grace
    }

    /// The trust domain and its aliases.
    pub(crate) fn trust_domains(&self) -> &[String] {
        &self.names.trust_domains
    }

    /// The same policy with its shadow rules enforced.
    #[must_use]
    pub fn with_shadow_enforced(&self) -> Self {
        let mut document = self.clone();
        for rule in &mut document.http {
            rule.rule.mode = Mode::Enforce;
        }
        document
    }

    /// A fault or warning of this document, with the text that it is about.
    pub fn show(&self, fault: Fault) -> Located {
        Located::new(fault, &self.sources)
    }

    /// The cases under `tests:`.
    pub fn tests(&self) -> &[Case] {
        &self.tests
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
        read_text(name, &printable(text), |reader, root| case(reader, root, &self.names))
    }
}

/// JSON as YAML can read it: strings of JSON may hold DEL and the C1 controls raw, those of YAML only escaped.
fn printable(json: &str) -> Cow<'_, str> {
    let raw = |c: char| ('\u{7f}'..='\u{9f}').contains(&c);
    if !json.contains(raw) {
        return json.into();
    }
    let escaped = |c: char| if raw(c) { format!("\\u{:04x}", u32::from(c)) } else { c.into() };
    json.chars().map(escaped).collect()
}

/// Reads a text, or tells all its faults.
fn read_text<T>(
    name: &str,
    text: &str,
    read: impl FnOnce(&mut Reader<'_>, &Node<'_>) -> Option<T>,
) -> Result<T, Faults> {
    let sources = [Text::shared(name, text.to_owned())];
    let mut reader = Reader::new(&sources);
    let found = match node::parse(text) {
        Ok(root) => read(&mut reader, &root),
        Err(fault) => {
            reader.fault(*fault);
            None
        }
    };
    let (faults, untold) = reader.into_faults();
    match found {
        Some(found) if faults.is_empty() => Ok(found),
        _ => Err(Faults::new(name, &sources, faults, untold)),
    }
}
