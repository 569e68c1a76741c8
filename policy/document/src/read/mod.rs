//! From nodes to rules. Every reading function notes faults and goes on, so that all are told at once.

mod case;
mod entries;
mod http;
mod keys;
mod postgres;
mod scalars;

pub(crate) use case::{case, cases};
pub use entries::IdentityError;
pub(crate) use entries::Names;
pub(crate) use http::http_rule;
pub(crate) use keys::Keys;
pub(crate) use postgres::postgres_rule;

use std::collections::BTreeMap;
use std::ops::Range;

use signet_policy::{IdPattern, RuleName};

use crate::fault::Fault;
use crate::node::{Node, span_of};

/// A rule, whom it is for, and where its name stands.
#[derive(Clone, Debug)]
pub(crate) struct Addressed<R> {
    pub(crate) rule: R,
    /// The destination workloads.
    pub(crate) to: Vec<IdPattern>,
    pub(crate) name_span: Range<usize>,
}

/// Reads nodes of one text and collects the faults.
pub(crate) struct Reader<'t> {
    text: &'t str,
    faults: Vec<Fault>,
    /// The names of the rules so far, and where they stand.
    rule_names: BTreeMap<RuleName, Range<usize>>,
}

impl<'t> Reader<'t> {
    pub(crate) const fn new(text: &'t str) -> Self {
        Self { text, faults: Vec::new(), rule_names: BTreeMap::new() }
    }

    /// Notes a fault.
    pub(crate) fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    pub(crate) fn into_faults(self) -> Vec<Fault> {
        self.faults
    }

    /// How many faults were noted so far.
    pub(crate) const fn fault_count(&self) -> usize {
        self.faults.len()
    }

    /// A rule's name, which no other rule of the document has: logs, metrics and tests call rules by
    /// it.
    fn rule_name(&mut self, node: &Node) -> Option<RuleName> {
        let name = self.parsed(node, "name", RuleName::try_from)?;
        let span = span_of(node);
        if let Some(first) = self.rule_names.get(&name) {
            let fault = Fault::new(
                span,
                format!("two rules are named `{name}`"),
                "here again",
                "each rule has a name of its own, over HTTP and Postgres",
            );
            self.faults.push(fault.also(first.clone(), "first here"));
            return None;
        }
        self.rule_names.insert(name.clone(), span);
        Some(name)
    }
}
