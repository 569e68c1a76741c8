//! Whom a rule is about: the entries of `from` and `to`, and the names that stand for identities.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound::{Excluded, Included, Unbounded};

use signet_policy::{IdPattern, PatternError, SpiffeId};

use super::Reader;
use crate::fault::{Fault, did_you_mean};
use crate::node::{Node, Value, span_of};
use crate::source::Place;

/// What `/…` and workload names mean in one document.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    /// The trust domain, then its aliases.
    pub(crate) trust_domains: Vec<String>,
    /// Each workload's name, and what it stands for. `None` where that is faulty: the fault is told
    /// once, not at each use.
    pub(crate) workloads: BTreeMap<String, Option<Identity>>,
    /// Where the names of workloads stand.
    pub(crate) places: BTreeMap<String, Place>,
}

/// What a workload's name stands for.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// As it is written.
    pub(crate) written: String,
    /// In each trust domain that it is in.
    patterns: Vec<IdPattern>,
}

/// Of many names so many before and after an unknown one, in their order, may be meant.
const NEIGHBOURS: usize = 250;

impl Names {
    /// All patterns that an identity stands for: `/…` is one for each trust domain.
    fn expand(&self, identity: &str) -> Result<Vec<IdPattern>, PatternError> {
        if !identity.starts_with('/') {
            return IdPattern::parse(identity).map(|pattern| vec![pattern]);
        }
        let absolute =
            |domain: &String| IdPattern::try_from(format!("spiffe://{domain}{identity}"));
        self.trust_domains.iter().map(absolute).collect()
    }

    /// That no workload has this name, which one may be meant, and what else is accepted.
    fn unknown(&self, name: &str, accepted: &str) -> IdentityError {
        let before =
            self.workloads.range::<str, _>((Unbounded, Excluded(name))).rev().take(NEIGHBOURS);
        let after = self.workloads.range::<str, _>((Included(name), Unbounded)).take(NEIGHBOURS);
        let meant = did_you_mean(name, before.chain(after).map(|(name, _)| name.as_str()))
            .map_or(String::new(), |meant| format!("did you mean `{meant}`? "));
        IdentityError { message: format!("unknown workload `{name}`"), help: meant + accepted }
    }

    /// The one SPIFFE ID that an entry stands for; `None` where its workload is faulty.
    pub(crate) fn concrete(&self, entry: &str) -> Result<Option<String>, IdentityError> {
        let identity = if is_workload_name(entry) {
            match self.workloads.get(entry) {
                Some(Some(identity)) => identity.written.as_str(),
                Some(None) => return Ok(None),
                None => return Err(self.unknown(entry, ONE)),
            }
        } else {
            entry
        };
        let absolute = match (identity.starts_with('/'), self.trust_domains.first()) {
            (true, Some(domain)) => format!("spiffe://{domain}{identity}"),
            _ => identity.to_owned(),
        };
        match SpiffeId::parse(&absolute) {
            Ok(_) => Ok(Some(absolute)),
            Err(error) => Err(IdentityError {
                message: format!("`{}` is not one SPIFFE ID", entry.escape_debug()),
                help: format!("{ONE}: {error}"),
            }),
        }
    }
}

/// Whether a text may name a workload: `[a-z][a-z0-9_-]*`.
fn is_workload_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

const ENTRY: &str =
    "accepted: the name of a workload, `/…` in this trust domain, `spiffe://…`, or `**`";

const ONE: &str =
    "accepted: the name of a workload, `/…` in this trust domain, or `spiffe://…`, and no pattern";

impl Reader<'_> {
    /// Reads `workloads:` into `names`.
    pub(crate) fn workloads(&mut self, node: &Node<'_>, names: &mut Names) {
        let Value::Map(map) = &node.value else {
            let help = "accepted: names and their SPIFFE IDs, such as `api: /ns/shop/sa/api`";
            self.wrong_kind(node, "workloads", "a mapping", help);
            return;
        };
        for (key, value) in map {
            let Some(name) = self.text(key, "workloads") else { continue };
            if !is_workload_name(name) {
                let message = format!("workload `{}` has no valid name", name.escape_debug());
                let help = "a name begins with `a-z`, and goes on with `a-z`, `0-9`, `_` and `-`";
                self.fault(Fault::new(span_of(key), message, "not a name", help));
                continue;
            }
            if names.workloads.contains_key(name) {
                let message = format!("workload `{name}` is named twice");
                self.fault(Fault::new(span_of(key), message, "here again", "name each once"));
                continue;
            }
            let identity = self.identity(value, names);
            names.places.insert(name.to_owned(), self.place_of(key));
            names.workloads.insert(name.to_owned(), identity);
        }
    }

    /// Reads the identity that a workload's name stands for.
    fn identity(&mut self, node: &Node<'_>, names: &Names) -> Option<Identity> {
        let identity = self.text(node, "workloads")?;
        let help = "accepted: `/…` in this trust domain, or `spiffe://…`, where a segment may be `*` \
                    and the last `**`";
        if identity.starts_with('/') || identity.starts_with("spiffe://") {
            match names.expand(identity) {
                Ok(patterns) => return Some(Identity { written: identity.to_owned(), patterns }),
                Err(error) => {
                    let message = format!("`{}` is no SPIFFE ID", identity.escape_debug());
                    self.fault(Fault::new(
                        span_of(node),
                        message,
                        "not an identity",
                        error.to_string(),
                    ));
                }
            }
        } else {
            let message = format!("`{}` is no SPIFFE ID", identity.escape_debug());
            self.fault(Fault::new(span_of(node), message, "not an identity", help));
        }
        None
    }

    /// Reads the entries of `from` or `to`, each expanded to absolute patterns. Sorted.
    pub(crate) fn entries(
        &mut self,
        node: &Node<'_>,
        what: &str,
        names: &Names,
    ) -> Option<Vec<IdPattern>> {
        let lists = self.list(node, what, |reader, item| reader.entry(item, what, names))?;
        let mut patterns = lists.concat();
        patterns.sort();
        // Two entries may share a pattern without being the same, through an alias.
        patterns.dedup();
        Some(patterns)
    }

    /// Where a list of entries says `**`.
    pub(crate) fn every_id(&self, node: &Node<'_>) -> Option<Place> {
        let Value::List(items) = &node.value else { return None };
        let item =
            items.iter().find(|item| matches!(&item.value, Value::Text(text) if text == "**"));
        item.map(|item| self.place_of(item))
    }

    fn entry(&mut self, node: &Node<'_>, what: &str, names: &Names) -> Option<Vec<IdPattern>> {
        let entry = self.text(node, what)?;
        if is_workload_name(entry) {
            return self.named(node, entry, names).map(<[_]>::to_vec);
        }
        if !(entry == "**" || entry.starts_with('/') || entry.starts_with("spiffe://")) {
            let message = format!("`{what}` names `{}`", entry.escape_debug());
            self.fault(Fault::new(span_of(node), message, "not an identity", ENTRY));
            return None;
        }
        match names.expand(entry) {
            Ok(patterns) => Some(patterns),
            Err(error) => {
                let message = format!("`{what}` names `{}`", entry.escape_debug());
                self.fault(Fault::new(
                    span_of(node),
                    message,
                    "not an identity",
                    error.to_string(),
                ));
                None
            }
        }
    }

    /// The identity that a workload's name stands for.
    fn named<'d>(
        &mut self,
        node: &Node<'_>,
        name: &str,
        names: &'d Names,
    ) -> Option<&'d [IdPattern]> {
        self.uses(name);
        if let Some(identity) = names.workloads.get(name) {
            return identity.as_ref().map(|identity| identity.patterns.as_slice());
        }
        self.fault_of(|| {
            let IdentityError { message, help } = names.unknown(name, ENTRY);
            Fault::new(span_of(node), message, "not under `workloads`", help)
        });
        None
    }

    /// Reads the one identity of a test case: a workload's name, `/…` or `spiffe://…`, no pattern.
    pub(crate) fn concrete(
        &mut self,
        node: &Node<'_>,
        what: &str,
        names: &Names,
    ) -> Option<String> {
        let entry = self.text(node, what)?;
        self.uses(entry);
        match names.concrete(entry) {
            Ok(identity) => identity,
            Err(error) => {
                let message = format!("`{what}`: {}", error.message);
                self.fault(Fault::new(span_of(node), message, "not one identity", error.help));
                None
            }
        }
    }
}

/// A text stands for no identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityError {
    message: String,
    help: String,
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.message, self.help)
    }
}

impl std::error::Error for IdentityError {}
