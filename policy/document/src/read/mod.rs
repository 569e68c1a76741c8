//! From nodes to rules. Every reading function notes faults and goes on, so that all are told at once.

mod case;
mod conditions;
mod entries;
mod head;
mod http;
mod keys;
mod postgres;
mod scalars;

pub(crate) use case::{case, cases};
pub use entries::IdentityError;
pub(crate) use entries::Names;
pub(crate) use head::VERSION;
pub(crate) use http::http_rule;
pub(crate) use keys::Keys;
pub(crate) use postgres::postgres_rule;
#[cfg(test)]
pub(crate) use {
    case::KEYS as CASE_KEYS,
    http::{KEYS as HTTP_KEYS, METHODS},
    postgres::KEYS as POSTGRES_KEYS,
};

use std::collections::{BTreeSet, HashMap};

use signet_policy::{IdPattern, RuleName};

use crate::fault::{Fault, MAX_TOLD, MOST_COUNTED, Untold};
use crate::node::{Node, span_of};
use crate::source::{Place, Source};

/// A rule, whom it is for, and where its name stands.
#[derive(Clone, Debug)]
pub struct Addressed<R> {
    /// The rule, as every destination gets it.
    pub rule: R,
    /// The destination workloads.
    pub to: Vec<IdPattern>,
    /// Where its name stands.
    pub place: Place,
    /// Whether it says that it means privileged roles. A matter of whoever sets up the database, so no part
    /// of what the filters get.
    pub allow_privileged: bool,
    /// Where `from` says `**`, if it does.
    pub(crate) anyone: Option<Place>,
    /// Where `to` says `**`, if it does.
    pub(crate) anywhere: Option<Place>,
    /// Where the rule's `db_role` stands.
    pub(crate) db_role: Option<Place>,
}

/// Reads nodes of one text and collects the faults.
pub(crate) struct Reader<'t> {
    sources: &'t [Source],
    /// The text that is read.
    file: usize,
    text: &'t str,
    faults: Vec<Fault>,
    untold: Untold,
    /// The names of the rules so far, and where they stand.
    rule_names: HashMap<RuleName, Place>,
    /// The names of workloads that something uses.
    pub(crate) used_workloads: BTreeSet<String>,
}

impl<'t> Reader<'t> {
    pub(crate) fn new(sources: &'t [Source]) -> Self {
        let text = sources.first().map_or("", |source| source.text());
        Self {
            sources,
            file: 0,
            text,
            faults: Vec::new(),
            untold: Untold::default(),
            rule_names: HashMap::new(),
            used_workloads: BTreeSet::new(),
        }
    }

    /// Turns to another of the texts.
    pub(crate) fn turn_to(&mut self, file: usize) {
        self.file = file;
        self.text = self.sources.get(file).map_or("", |source| source.text());
    }

    /// What the text that is read is called.
    fn name(&self) -> &str {
        self.sources.get(self.file).map_or("", |source| source.name())
    }

    /// Where a node of the text that is read stands.
    pub(crate) fn place_of(&self, node: &Node<'_>) -> Place {
        Place { file: self.file, span: span_of(node) }
    }

    /// The line of the text that is read in which a node stands, from 1.
    fn line_of(&self, node: &Node<'_>) -> usize {
        self.sources.get(self.file).map_or(0, |source| source.position(span_of(node).start).0)
    }

    /// Notes that something uses a workload of this name.
    fn uses(&mut self, name: &str) {
        if !self.used_workloads.contains(name) {
            self.used_workloads.insert(name.to_owned());
        }
    }

    /// Notes a fault of the text that is read.
    pub(crate) fn fault(&mut self, fault: Fault) {
        self.later_fault(Fault { file: self.file, ..fault });
    }

    /// Notes a fault of the text that is read, made only if it is told.
    fn fault_of(&mut self, fault: impl FnOnce() -> Fault) {
        if self.faults.len() < MAX_TOLD {
            self.fault(fault());
        } else {
            self.untold.count += 1;
        }
    }

    /// Notes a fault of something read before.
    pub(crate) fn later_fault(&mut self, fault: Fault) {
        if self.faults.len() < MAX_TOLD {
            self.faults.push(fault);
        } else {
            self.untold.count += 1;
        }
    }

    /// The faults that are told, and how many more there are.
    pub(crate) fn into_faults(self) -> (Vec<Fault>, Untold) {
        (self.faults, self.untold)
    }

    /// Notes that there may be more faults than were counted.
    pub(crate) const fn stop_counting(&mut self) {
        self.untold.or_more = true;
    }

    /// Whether as many faults were noted as are counted: who reads a list may stop.
    pub(crate) const fn is_full(&self) -> bool {
        self.fault_count() >= MOST_COUNTED
    }

    /// How many faults were noted so far.
    pub(crate) const fn fault_count(&self) -> usize {
        self.faults.len() + self.untold.count
    }

    /// A rule's name, which no other rule of the document has: logs, metrics and tests call rules by
    /// it.
    fn rule_name(&mut self, node: &Node<'_>) -> Option<RuleName> {
        let name = self.parsed(node, "name", RuleName::try_from)?;
        let place = self.place_of(node);
        if let Some(first) = self.rule_names.get(&name) {
            let fault = Fault::at_place(
                &place,
                format!("two rules are named `{name}`"),
                "here again",
                "each rule has a name of its own, over HTTP and Postgres",
            );
            self.later_fault(fault.also(first, "first here"));
            return None;
        }
        self.rule_names.insert(name.clone(), place);
        Some(name)
    }
}
