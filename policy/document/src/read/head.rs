//! What all texts of a policy say together: trust domains, workloads, and settings of the whole.

use signet_policy::SpiffeId;

use super::{Addressed, Keys, Names, Reader};
use crate::fault::Fault;
use crate::node::{Node, Value, span_of};
use crate::source::Place;

/// The newest version of the document that this build reads.
pub(crate) const VERSION: u64 = 1;

impl Reader<'_> {
    /// What all documents say of names: the trust domains, and the workloads.
    pub(crate) fn names(&mut self, files: &[(usize, Keys<'_>)]) -> Names {
        let mut names = Names::default();
        let mut domain = None;
        let mut aliases = None;
        for (file, keys) in files {
            self.turn_to(*file);
            if let Some(version) = self.require(keys, "version") {
                self.integer(version, "version", VERSION, VERSION);
            }
            if let Some(node) = self.require(keys, "trust_domain")
                && let Some(found) = self.trust_domain(node, "trust_domain")
            {
                self.agreed(&mut domain, node, "trust_domain", found);
            }
        }
        names.trust_domains.extend(domain.map(|(domain, _)| domain));
        for (file, keys) in files {
            self.turn_to(*file);
            let Some(node) = keys.get("trust_domain_aliases") else { continue };
            let read = |reader: &mut Self, item: &Node<'_>| {
                reader.trust_domain(item, "trust_domain_aliases")
            };
            let Some(mut found) = self.list(node, "trust_domain_aliases", read) else { continue };
            for alias in &found {
                if names.trust_domains.contains(alias) {
                    let message = format!("`trust_domain_aliases` names `{alias}` itself");
                    let help = "aliases are other trust domains";
                    self.fault(Fault::new(span_of(node), message, "not an alias", help));
                }
            }
            found.sort();
            self.agreed(&mut aliases, node, "trust_domain_aliases", found);
        }
        names.trust_domains.extend(aliases.into_iter().flat_map(|(aliases, _)| aliases));
        for (file, keys) in files {
            self.turn_to(*file);
            if let Some(workloads) = keys.get("workloads") {
                self.workloads(workloads, &mut names);
            }
        }
        names
    }

    /// A value that several documents may say, but not differently.
    fn agreed<T: PartialEq>(
        &mut self,
        first: &mut Option<(T, Place)>,
        node: &Node<'_>,
        what: &str,
        found: T,
    ) {
        let place = self.place_of(node);
        match first {
            None => *first = Some((found, place)),
            Some((said, _)) if *said == found => {}
            Some((_, said_at)) => {
                let message = format!("`{what}` differs from that of another file");
                let help = "the files of one policy agree in it";
                let fault = Fault::at_place(&place, message, "differs", help);
                self.later_fault(fault.also(said_at, "first said here"));
            }
        }
    }

    pub(crate) fn agreed_duration(
        &mut self,
        files: &[(usize, Keys<'_>)],
        what: &'static str,
        default: u64,
    ) -> u64 {
        let mut seconds = None;
        for (file, keys) in files {
            self.turn_to(*file);
            let Some(node) = keys.get(what) else { continue };
            if let Some(found) = self.duration(node, what, 0) {
                self.agreed(&mut seconds, node, what, found);
            }
        }
        seconds.map_or(default, |(seconds, _)| seconds)
    }

    fn trust_domain(&mut self, node: &Node<'_>, what: &str) -> Option<String> {
        self.parsed(node, what, |text| match SpiffeId::parse(&format!("spiffe://{text}/x")) {
            Ok(id) if id.trust_domain() == text => Ok(text),
            _ => Err("a trust domain is 1 to 255 of the characters `a-z`, `0-9`, `.`, `-` and `_`, such as \
                      `example.org`"),
        })
    }

    /// Reads a list of rules; the faulty ones are left out.
    pub(crate) fn rules<R>(
        &mut self,
        node: Option<&Node<'_>>,
        what: &str,
        names: &Names,
        read: fn(&mut Self, &Node<'_>, &Names) -> Option<Addressed<R>>,
    ) -> Vec<Addressed<R>> {
        let Some(node) = node else { return Vec::new() };
        let Value::List(items) = &node.value else {
            self.wrong_kind(node, what, "a list", "a list of rules is accepted");
            return Vec::new();
        };
        let mut rules = Vec::with_capacity(items.len());
        for item in items {
            if self.is_full() {
                break;
            }
            rules.extend(read(self, item, names));
        }
        rules
    }
}
