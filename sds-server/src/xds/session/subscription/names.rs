//! The names that a subscription is about, and how requests change them.

use std::collections::HashMap;

use super::super::super::event::Event;
use super::super::super::resource::Version;
use super::super::entry::{Entry, Held};
use super::{ALL, Subscription};

impl Subscription {
    /// Takes in a list of all names; returns whether it differs. An empty list means all there is
    /// if no other came before, else nothing.
    pub(super) fn want_exactly(&mut self, mut names: Vec<String>, events: &mut Vec<Event>) -> bool {
        names.sort_unstable();
        names.dedup();
        let all = match names.binary_search_by(|name| name.as_str().cmp(ALL)) {
            Ok(position) => {
                names.remove(position);
                true
            }
            Err(_) => self.all && names.is_empty(),
        };
        let listed = self.entries.iter().filter(|entry| entry.listed).map(|entry| &*entry.name);
        if all == self.all && listed.eq(names.iter().map(String::as_str)) {
            return false;
        }
        self.all = all;
        let mut old = std::mem::take(&mut self.entries).into_iter().peekable();
        let mut dropped = Vec::new();
        let mut names = names.into_iter().peekable();
        loop {
            let next = match (old.peek(), names.peek()) {
                (None, None) => break,
                (Some(entry), Some(name)) => (*entry.name).cmp(name.as_str()),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
            };
            if next.is_le() {
                let Some(mut entry) = old.next() else { break };
                let found = !std::mem::replace(&mut entry.listed, next.is_eq());
                let keep = entry.listed || all;
                if keep { &mut self.entries } else { &mut dropped }.push(entry);
                // What was only found is asked for by name now, by something that does not have it.
                if found && next.is_eq() {
                    self.hold(self.entries.len() - 1, Held::Something);
                }
            }
            if next.is_ge() {
                let Some(name) = names.next() else { break };
                if next.is_gt() {
                    self.entries.push(Entry::new(name.into(), true, Held::Nothing));
                }
            }
        }
        self.forget(dropped, events);
        true
    }

    /// Takes in a change of names; returns whether there was any. A name that is asked for again is
    /// sent again.
    pub(super) fn want_changed(
        &mut self,
        more: Vec<String>,
        fewer: &[String],
        held: &HashMap<String, String>,
        events: &mut Vec<Event>,
    ) -> bool {
        let changed = !more.is_empty() || !fewer.is_empty();
        let mut dropped = Vec::new();
        for name in fewer {
            if name == ALL {
                self.all = false;
                dropped.extend(self.entries.extract_if(.., |entry| !entry.listed));
            } else if let Ok(position) = self.position(name) {
                dropped.push(self.entries.remove(position));
            }
        }
        self.forget(dropped, events);
        for name in more {
            if name == ALL {
                self.all = true;
            } else if let Ok(position) = self.position(&name) {
                self.entries[position].listed = true;
                self.hold(position, Held::Something);
            } else {
                self.insert(&name, true, held);
            }
        }
        changed
    }

    pub(super) fn insert(&mut self, name: &str, listed: bool, held: &HashMap<String, String>) {
        if let Err(position) = self.position(name) {
            self.entries.insert(position, Entry::new(name.into(), listed, Held::Nothing));
            if let Some(version) = held.get(name) {
                let held = Version::parse(version).map_or(Held::Something, Held::Version);
                self.hold(position, held);
            }
        }
    }

    pub(super) fn forget(&mut self, dropped: Vec<Entry>, events: &mut Vec<Event>) {
        for entry in dropped {
            if let Held::Version(version) = &entry.held {
                self.state.remove(&entry.name, version);
            }
            events.push(Event::Unsubscribed { kind: self.kind, name: entry.name.to_string() });
        }
    }

    pub(super) fn hold(&mut self, position: usize, held: Held) {
        let entry = &mut self.entries[position];
        if let Held::Version(version) = &entry.held {
            self.state.remove(&entry.name, version);
        }
        if let Held::Version(version) = &held {
            self.state.insert(&entry.name, version);
        }
        entry.held = held;
    }

    pub(super) fn position(&self, name: &str) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| (*entry.name).cmp(name))
    }
}
