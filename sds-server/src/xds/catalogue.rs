//! Everything that can be served at a moment.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use spiffe::SpiffeId;

use super::absence::Absence;
use super::form::ValidationForm;
use super::names::ExtensionName;
use super::resource::{Kind, Resource};
use super::stock::Stock;
use crate::sources::jwt::Want;

/// How much a shelf remembers before it is full; what comes beyond is made each time it is asked for. Bundles can be spelled
/// in many ways. Unit: bytes of names and encoded resources.
const FULL: usize = 8 << 20;

/// All resources by kind and name. Each is made when somebody asks for it first, encoded once, and
/// shared by all streams; what a name means never changes within one catalogue.
#[derive(Debug, Default)]
pub struct Catalogue {
    stock: Stock,
    canonical: BTreeMap<Kind, Vec<String>>,
    made: Made,
}

/// Resources that somebody has asked for, by kind and by the form of those whose name leaves it open.
#[derive(Debug, Default)]
struct Made {
    secrets: RwLock<Shelf>,
    plain_secrets: RwLock<Shelf>,
    extensions: RwLock<Shelf>,
}

/// Resources by the names that they were asked for by.
#[derive(Debug, Default)]
struct Shelf {
    resources: HashMap<Box<str>, Arc<Resource>>,
    bytes: usize,
}

impl Catalogue {
    pub(super) fn new(stock: Stock) -> Self {
        let canonical = Kind::ALL.map(|kind| (kind, stock.canonical_names(kind))).into();
        Self { stock, canonical, made: Made::default() }
    }

    /// A catalogue of these identities.
    #[cfg(test)]
    pub(crate) fn of_snapshot(snapshot: Arc<crate::sources::SvidSnapshot>) -> Self {
        Self::new(Stock { snapshot, ..Stock::default() })
    }

    /// A catalogue of just these.
    #[cfg(test)]
    pub(super) fn of(resources: impl IntoIterator<Item = Arc<Resource>>) -> Self {
        let mut catalogue = Self::default();
        for resource in resources {
            if !["default", "ROOTCA", "ALL"].contains(&resource.name.as_str()) {
                catalogue.canonical.entry(resource.kind).or_default().push(resource.name.clone());
            }
            catalogue.keep(&resource.name.clone(), ValidationForm::default(), resource);
        }
        catalogue
    }

    /// The resource of that name, or why there is none now. `form` is how a bundle is written where
    /// its name does not say.
    pub(super) fn resolve(
        &self,
        kind: Kind,
        name: &str,
        form: ValidationForm,
    ) -> Result<Arc<Resource>, Absence> {
        let shelf = self.shelf(kind, form);
        let made = read(shelf).resources.get(name).map(Arc::clone);
        match made {
            Some(resource) => Ok(resource),
            None => Ok(self.keep(name, form, Arc::new(self.stock.make(kind, name, form)?))),
        }
    }

    /// The resource of that name in the SPIFFE form, if it can be served now.
    pub(super) fn find(&self, kind: Kind, name: &str) -> Option<Arc<Resource>> {
        self.resolve(kind, name, ValidationForm::default()).ok()
    }

    /// Whether it has a default SVID.
    pub(crate) fn has_identity(&self) -> bool {
        self.stock.snapshot.default.is_some()
    }

    /// Whether it has any SVID.
    pub(super) fn has_svids(&self) -> bool {
        !self.stock.snapshot.svids.is_empty()
    }

    /// Whether it has a policy.
    pub(crate) fn has_policy(&self) -> bool {
        self.stock.policy.digest().is_some()
    }

    /// Whose policy an extension of that name is.
    pub(super) fn workload(&self, name: &str) -> Option<SpiffeId> {
        self.stock.workload(ExtensionName::parse(name).ok()?.id).ok()
    }

    /// Asks for what that name stands for where it is made on demand only, for as long as the answer
    /// is held.
    pub(super) fn want(&self, kind: Kind, name: &str) -> Option<Want> {
        (kind == Kind::Secret).then(|| self.stock.want(name))?
    }

    /// The names that somebody has been answered.
    pub(super) fn asked(&self, kind: Kind) -> Vec<Box<str>> {
        read(self.shelf(kind, ValidationForm::default())).resources.keys().cloned().collect()
    }

    /// All resources of a kind, each under its own name only.
    pub(super) fn canonical(
        &self,
        kind: Kind,
        form: ValidationForm,
    ) -> impl Iterator<Item = Arc<Resource>> {
        let names = self.canonical.get(&kind).map(Vec::as_slice).unwrap_or_default();
        names.iter().filter_map(move |name| self.resolve(kind, name, form).ok())
    }

    /// Whether the same resources are served by both.
    pub(super) fn same_as(&self, other: &Stock) -> bool {
        self.stock.same_as(other)
    }

    /// Puts a resource on its shelf; of two makers the first one wins.
    fn keep(&self, name: &str, form: ValidationForm, resource: Arc<Resource>) -> Arc<Resource> {
        let shelf = self.shelf(resource.kind, form);
        shelf.write().unwrap_or_else(PoisonError::into_inner).keep(name, resource)
    }

    fn shelf(&self, kind: Kind, form: ValidationForm) -> &RwLock<Shelf> {
        match (kind, form) {
            (Kind::Secret, ValidationForm::Spiffe) => &self.made.secrets,
            (Kind::Secret, ValidationForm::Plain) => &self.made.plain_secrets,
            (Kind::Extension, _) => &self.made.extensions,
        }
    }
}

impl Shelf {
    /// Puts a resource there, unless it is full; returns what stands there already, else this one.
    fn keep(&mut self, name: &str, resource: Arc<Resource>) -> Arc<Resource> {
        if let Some(known) = self.resources.get(name) {
            return Arc::clone(known);
        }
        if self.bytes < FULL {
            self.bytes += name.len() + resource.name.len() + resource.encoded.len();
            self.resources.insert(name.into(), Arc::clone(&resource));
        }
        resource
    }
}

fn read(shelf: &RwLock<Shelf>) -> RwLockReadGuard<'_, Shelf> {
    shelf.read().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    use spiffe::{SpiffeId, X509Svid};

    use super::{Absence, Catalogue, FULL, Kind, Stock, read};
    use crate::sources::{Svid, SvidSnapshot, test_context::Authority};
    use crate::xds::form::ValidationForm::{Plain, Spiffe};

    const A: &str = "spiffe://example.org/a";

    /// The SVIDs /a and /b, the latter hinted `internal`, and the bundles of three trust domains.
    fn catalogue() -> Catalogue {
        let [own, x, y] = ["example.org", "x.org", "y.org"].map(Authority::new);
        let svids = [("/a", None), ("/b", Some("internal"))].map(|(path, hint)| {
            let (chain, key) = own.pair(path, Duration::from_mins(1));
            let svid = X509Svid::parse_from_der_with_hint(&chain, &key, hint.map(Arc::from));
            let svid = Svid::check(Arc::new(svid.expect("an SVID"))).expect("fits");
            (svid.id().clone(), Arc::new(svid))
        });
        let bundles = Authority::context(&[], &[&own, &x, &y]);
        let bundles = bundles.bundle_set().iter().map(|(td, b)| (td.clone(), Arc::clone(b)));
        let snapshot = SvidSnapshot {
            svids: BTreeMap::from(svids),
            bundles: bundles.collect(),
            default: Some(SpiffeId::new(A).expect("an ID")),
            ..SvidSnapshot::default()
        };
        Catalogue::new(Stock { snapshot: Arc::new(snapshot), ..Stock::default() })
    }

    #[test]
    fn a_resource_is_made_once_and_shared() {
        let catalogue = catalogue();
        let find = |name| catalogue.find(Kind::Secret, name).expect(name);
        assert!(Arc::ptr_eq(&find("default"), &find("default")));
        for (alias, other) in [
            ("default", A),
            ("svid?hint=internal", "spiffe://example.org/b"),
            ("ROOTCA", "spiffe://example.org"),
            ("bundle?td=x.org,y.org", "bundle?td=y.org,x.org"),
        ] {
            let (alias, other) = (find(alias), find(other));
            // Envoy refuses a resource of another name than it asked for.
            assert_ne!(alias.version, other.version);
            assert!(alias.encoded.len().abs_diff(other.encoded.len()) < 40);
        }
    }

    #[test]
    fn a_form_is_the_names_else_the_nodes() {
        let catalogue = catalogue();
        let find = |name, form| catalogue.resolve(Kind::Secret, name, form).expect(name);
        let size = |name, form| find(name, form).encoded.len();
        let validator = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFE";
        let has_validator = |name, form| {
            let encoded = find(name, form).encoded.clone();
            encoded.windows(validator.len()).any(|part| part == validator.as_bytes())
        };
        assert!(has_validator("ROOTCA", Spiffe) && !has_validator("ROOTCA", Plain));
        assert!(has_validator("ROOTCA.spiffe", Plain) && !has_validator("ROOTCA.x509", Spiffe));
        assert!(has_validator("ALL", Spiffe) && has_validator("ALL.spiffe", Plain));
        assert!(!has_validator("bundle.x509?td=x.org", Spiffe));
        assert!(size("ALL", Spiffe) > 2 * size("ROOTCA", Spiffe));
        let partial = size("bundle?td=x.org,elsewhere.org", Spiffe);
        assert!(
            partial < size("bundle?td=x.org,y.org", Spiffe),
            "one that is not there is left out"
        );
    }

    #[test]
    fn what_is_not_served_has_a_reason() {
        let catalogue = catalogue();
        for (name, form, class) in [
            ("ALL.x509", Spiffe, "several_trust_domains"),
            ("ALL", Plain, "several_trust_domains"),
            ("bundle.x509?td=x.org,y.org", Spiffe, "several_trust_domains"),
            ("bundle?td=x.org,y.org", Plain, "several_trust_domains"),
            ("bundle?td=elsewhere.org", Spiffe, "no_bundle"),
            ("spiffe://elsewhere.org", Spiffe, "no_bundle"),
            ("spiffe://example.org/c", Spiffe, "no_svid"),
            ("svid?hint=external", Spiffe, "no_svid"),
            ("ROOTCA.pem", Spiffe, "name"),
        ] {
            let absence = catalogue.resolve(Kind::Secret, name, form).expect_err(name);
            assert_eq!(absence.class(), class, "{name}");
        }
        let absence = |name| catalogue.resolve(Kind::Extension, name, Spiffe).expect_err(name);
        assert!(matches!(absence("signet.http"), Absence::Slice(_)));
        assert!(matches!(absence("signet.http?id=spiffe://x.org/x"), Absence::NotIssued(_)));
        let empty = Catalogue::default();
        for name in ["default", "ROOTCA"] {
            let absence = empty.resolve(Kind::Secret, name, Spiffe).err();
            assert_eq!(absence, Some(Absence::NoDefault));
        }
    }

    #[test]
    fn all_are_each_thing_once() {
        let names: Vec<String> = catalogue()
            .canonical(Kind::Secret, Plain)
            .map(|resource| resource.name.clone())
            .collect();
        assert_eq!(
            names,
            [
                "spiffe://example.org",
                "spiffe://x.org",
                "spiffe://y.org",
                A,
                "spiffe://example.org/b"
            ]
        );
    }

    #[test]
    fn spellings_without_end_are_answered_and_not_remembered() {
        let catalogue = catalogue();
        let filler: Vec<String> = (0..200).map(|number| format!("m{number}.org")).collect();
        let filler = filler.join(",");
        let mut largest = 0;
        for number in 0..FULL / filler.len() {
            let name = format!("bundle?td={filler},x.org,n{number}.org");
            let resource = catalogue.find(Kind::Secret, &name).expect("a bundle");
            largest = largest.max(2 * name.len() + resource.encoded.len());
        }
        let (count, bytes) = {
            let shelf = read(&catalogue.made.secrets);
            (shelf.resources.len(), shelf.bytes)
        };
        assert!((FULL..FULL + largest).contains(&bytes), "{bytes}");
        assert!(catalogue.find(Kind::Secret, "default").is_some());
        assert_eq!(read(&catalogue.made.secrets).resources.len(), count);
    }
}
