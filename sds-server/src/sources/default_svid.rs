//! Which of several SVIDs is the default one.
//!
//! Never "the first that the source names": SPIRE sorts by a random entry ID, so the first one
//! jumps when an entry is added.

use std::collections::BTreeMap;
use std::sync::Arc;

use spiffe::SpiffeId;

use super::Svid;
use crate::config::DefaultSvid;

/// Chooses among `svids`; `previous` is the last choice. A configured choice that is not issued
/// means none: another identity than the operator's is no substitute.
pub(super) fn choose(
    choice: &DefaultSvid,
    svids: &BTreeMap<SpiffeId, Arc<Svid>>,
    previous: Option<&SpiffeId>,
) -> Option<SpiffeId> {
    if choice.spiffe_id.is_some() || choice.hint.is_some() {
        let by_id = choice.id().filter(|id| svids.contains_key(id)).cloned();
        return by_id.or_else(|| {
            let hint = choice.hint.as_deref()?;
            svids.values().find(|svid| svid.hint() == Some(hint)).map(|svid| svid.id().clone())
        });
    }
    previous.filter(|id| svids.contains_key(id)).cloned().or_else(|| svids.keys().next().cloned())
}

/// Why there is no default SVID although there are SVIDs.
pub(super) fn explain_none(choice: &DefaultSvid, svids: &BTreeMap<SpiffeId, Arc<Svid>>) -> String {
    if svids.is_empty() {
        return "no identity that can be served is issued".into();
    }
    let wanted = match (choice.id(), &choice.hint) {
        (Some(id), Some(hint)) => format!("neither {id} nor the hint `{hint}`"),
        (Some(id), None) => format!("not {id}"),
        (None, Some(hint)) => format!("none with the hint `{hint}`"),
        (None, None) => "none".into(),
    };
    let issued: Vec<String> = svids.keys().map(SpiffeId::to_string).collect();
    format!("what is configured is missing: {wanted} is issued, only {}", issued.join(", "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    use spiffe::{SpiffeId, X509Svid};

    use super::super::{Svid, test_context::Authority};
    use super::choose;
    use crate::config::DefaultSvid;

    fn id(path: &str) -> SpiffeId {
        SpiffeId::new(format!("spiffe://example.org{path}")).expect("an ID")
    }

    #[test]
    fn configured_then_hint_then_first_chosen_then_smallest() {
        let authority = Authority::new("example.org");
        let issued: BTreeMap<SpiffeId, Arc<Svid>> =
            [("/a", None), ("/b", Some("internal")), ("/c", None)]
                .into_iter()
                .map(|(path, hint)| {
                    let (chain, key) = authority.pair(path, Duration::from_mins(1));
                    let document =
                        X509Svid::parse_from_der_with_hint(&chain, &key, hint.map(Arc::from))
                            .expect("an SVID");
                    (id(path), Arc::new(Svid::check(Arc::new(document)).expect("fits")))
                })
                .collect();

        for (spiffe_id, hint, previous, expected) in [
            (None, None, None, Some("/a")),
            (None, None, Some("/c"), Some("/c")),
            (None, None, Some("/gone"), Some("/a")),
            (None, Some("internal"), Some("/c"), Some("/b")),
            (None, Some("other"), Some("/c"), None),
            (Some("/c"), Some("internal"), Some("/a"), Some("/c")),
            (Some("/gone"), Some("internal"), None, Some("/b")),
            (Some("/gone"), None, Some("/a"), None),
        ] {
            let choice = DefaultSvid {
                spiffe_id: spiffe_id.map(|path| crate::config::ConfiguredId(id(path))),
                hint: hint.map(str::to_owned),
            };
            let chosen = choose(&choice, &issued, previous.map(id).as_ref());
            assert_eq!(chosen, expected.map(id), "{spiffe_id:?} {hint:?} {previous:?}");
        }
    }
}
