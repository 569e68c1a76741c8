//! The version of all that it holds, which a peer brings along when it reconnects.

use super::super::super::resource::Version;
use super::super::entry::{Circumstances, Held};
use super::super::version::StateVersion;
use super::{ALL, Subscription};

impl Subscription {
    /// Believes the version that a peer brought along where it is that of what it would get, and nothing of that
    /// was ever refused.
    pub(super) fn believe_claim(&mut self, of: &Circumstances<'_>) {
        let Some(claimed) = &self.claimed else { return };
        let mut state = self.empty_state();
        for resource in self.entries.iter().filter_map(|entry| of.find(&entry.name)) {
            if of.refused(&resource) {
                return;
            }
            state.insert(&resource.name, &resource.version);
        }
        if *claimed == state.to_string() {
            self.claimed = None;
            for position in 0..self.entries.len() {
                if let Some(resource) = of.find(&self.entries[position].name) {
                    self.hold(position, Held::Version(resource.version.clone()));
                    if self.repeats {
                        // It may have lost it since, and the version tells nothing of that.
                        self.entries[position].repeat(of.now.steady);
                    }
                }
            }
        }
    }

    /// Whoever held all there is may later want the same by name, and not have it.
    fn empty_state(&self) -> StateVersion {
        let mut state = StateVersion::default();
        if self.all {
            state.insert(ALL, &Version::of([]));
        }
        state
    }
}
