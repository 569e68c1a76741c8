//! Everything that can be served at a moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::extensions::extension;
use super::resource::{Kind, Resource, Version};
use super::secrets::secrets;
use crate::config::Names;
use crate::policy::FilterConfiguration;
use crate::sources::SvidSnapshot;

/// All resources by kind and name. Built whole, never changed, shared by all streams.
#[derive(Debug, Default)]
pub struct Catalogue {
    resources: BTreeMap<Kind, BTreeMap<String, Arc<Resource>>>,
}

impl Catalogue {
    /// Encodes what the snapshot and the filters hold. What did not change is the very resource of
    /// `previous`.
    pub(super) fn build(
        snapshot: &SvidSnapshot,
        filters: &[FilterConfiguration],
        names: &Names,
        previous: &Self,
    ) -> Self {
        let fresh = secrets(snapshot, names).into_iter().chain(filters.iter().map(extension));
        Self::of(fresh.map(|resource| {
            let known = previous
                .find(resource.kind, &resource.name)
                .filter(|known| known.version == resource.version)
                .filter(|known| known.policy == resource.policy);
            known.map_or_else(|| Arc::new(resource), Arc::clone)
        }))
    }

    pub(super) fn of(resources: impl IntoIterator<Item = Arc<Resource>>) -> Self {
        let mut catalogue = Self::default();
        for resource in resources {
            catalogue
                .resources
                .entry(resource.kind)
                .or_default()
                .insert(resource.name.clone(), resource);
        }
        catalogue
    }

    /// The resource of that name, if it can be served now.
    pub(super) fn find(&self, kind: Kind, name: &str) -> Option<&Arc<Resource>> {
        self.resources.get(&kind)?.get(name)
    }

    /// All resources of a kind, each under its own name only.
    pub(super) fn canonical(&self, kind: Kind) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources
            .get(&kind)
            .into_iter()
            .flat_map(BTreeMap::values)
            .filter(|resource| !resource.alias)
    }

    /// Whether both hold the same bytes under the same names.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        let versions = |catalogue: &Self| -> Vec<(Kind, String, Version)> {
            let all = catalogue.resources.values().flat_map(BTreeMap::values);
            all.map(|resource| (resource.kind, resource.name.clone(), resource.version.clone()))
                .collect()
        };
        versions(self) == versions(other)
    }
}
