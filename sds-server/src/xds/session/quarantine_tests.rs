use std::time::Duration;

use tokio::time::Instant;

use super::{EnvoyId, Quarantine};
use crate::xds::peer::Account;
use crate::xds::resource::{Content, Kind, Version};

const KIND: Kind = Kind::Secret;

fn envoy() -> EnvoyId {
    EnvoyId { account: Account::User(7), node: "sidecar".into() }
}

fn versions() -> (Version, Version) {
    (Version::of([b"bad".as_slice()]), Version::of([b"good".as_slice()]))
}

/// Sent and refused in this moment.
fn now() -> (Instant, Instant) {
    (Instant::now(), Instant::now())
}

#[test]
fn refused_bytes_are_not_believed_until_others_are_accepted() {
    let (envoy, (bad, good)) = (envoy(), versions());
    let mut quarantine = Quarantine::default();
    quarantine.record(&envoy, KIND, "default", (Content::Certificate, &bad, "no"), now());
    assert!(!quarantine.accept(&envoy, KIND, "default", &bad, None));
    assert!(quarantine.holds(&envoy, KIND, "default", &bad));
    assert!(!quarantine.holds(&envoy, KIND, "other", &bad));
    // Not what another refused: else one Envoy could keep a certificate from all.
    for other in [
        EnvoyId { account: Account::User(8), ..envoy.clone() },
        EnvoyId { node: "gateway".into(), ..envoy.clone() },
    ] {
        assert!(!quarantine.holds(&other, KIND, "default", &bad), "{other:?}");
    }
    assert!(quarantine.accept(&envoy, KIND, "default", &good, None));
    assert!(!quarantine.holds(&envoy, KIND, "default", &bad));
    assert_eq!((quarantine.count, quarantine.refusals.len()), (0, 0));
}

#[test]
fn an_envoy_with_nothing_is_tried_again_but_not_for_ever() {
    let (envoy, (bad, _)) = (envoy(), versions());
    let mut quarantine = Quarantine::default();
    for _ in 0..Quarantine::TRIES {
        assert!(quarantine.may_try(&envoy, KIND, "default", &bad));
        quarantine.record(&envoy, KIND, "default", (Content::Certificate, &bad, "no"), now());
    }
    assert!(!quarantine.may_try(&envoy, KIND, "default", &bad));
    assert_eq!(quarantine.count, 1);
}

#[test]
fn the_culprit_is_healed_and_suspects_are_cleared_but_the_culprit_is_not() {
    let (envoy, (bad, good)) = (envoy(), versions());
    let mut quarantine = Quarantine::default();
    quarantine.record(&envoy, KIND, "default", (Content::Certificate, &bad, "no"), now());
    assert!(!quarantine.take_news());
    assert!(!quarantine.needs_healing(&envoy, KIND, "default", &bad));
    quarantine.record(&envoy, KIND, "ROOTCA", (Content::Bundle, &good, "no"), now());
    assert!(quarantine.take_news());
    assert!(quarantine.needs_healing(&envoy, KIND, "default", &bad));
    assert!(!quarantine.needs_healing(&envoy, KIND, "ROOTCA", &good), "only a suspect");
    assert!(quarantine.accept(&envoy, KIND, "default", &good, Some(Instant::now())));
    assert!(quarantine.take_news());
    assert!(quarantine.holds(&envoy, KIND, "default", &bad));
    assert!(!quarantine.needs_healing(&envoy, KIND, "default", &bad));
    assert!(!quarantine.holds(&envoy, KIND, "ROOTCA", &good));
    assert_eq!(quarantine.count, 1);
}

#[test]
fn the_same_certificate_by_another_name_is_no_suspect() {
    let (envoy, (bad, good)) = (envoy(), versions());
    let mut quarantine = Quarantine::default();
    for name in ["default", "spiffe://example.org/api"] {
        let refused = (Content::Certificate, &bad, "no");
        quarantine.record(&envoy, KIND, name, refused, now());
    }
    assert!(!quarantine.take_news());
    assert!(!quarantine.needs_healing(&envoy, KIND, "default", &bad));
    assert!(quarantine.accept(&envoy, KIND, "default", &good, Some(Instant::now())));
    assert!(quarantine.holds(&envoy, KIND, "spiffe://example.org/api", &bad));
}

/// Each secret has a stream of its own, and streams are heard in any order.
#[test]
fn what_is_heard_to_be_refused_after_the_healing_was_refused_before_it_if_it_was_sent_before() {
    let (envoy, (bad, good)) = (envoy(), versions());
    let start = Instant::now();
    let at = |millisecond| start + Duration::from_millis(millisecond);
    let mut quarantine = Quarantine::default();
    let refused = (Content::Certificate, &bad, "no");
    quarantine.record(&envoy, KIND, "default", refused, (at(0), at(1)));
    quarantine.record(&envoy, KIND, "ROOTCA", (Content::Bundle, &good, "no"), (at(2), at(3)));
    assert!(quarantine.accept(&envoy, KIND, "default", &good, Some(at(5))));
    quarantine.record(&envoy, KIND, "ALL", (Content::Bundle, &good, "no"), (at(2), at(6)));
    assert!(!quarantine.holds(&envoy, KIND, "ALL", &good), "it is tried once more");
    quarantine.record(&envoy, KIND, "ALL", (Content::Bundle, &good, "no"), (at(7), at(8)));
    assert!(quarantine.holds(&envoy, KIND, "ALL", &good), "and no more than once");
    assert_eq!(quarantine.count, 2);
}

#[test]
fn it_does_not_grow_without_bounds() {
    let mut quarantine = Quarantine::default();
    let (version, _) = versions();
    for node in 0..=Quarantine::CAPACITY {
        let envoy = EnvoyId { account: Account::User(7), node: node.to_string() };
        quarantine.record(&envoy, KIND, "default", (Content::Certificate, &version, "no"), now());
    }
    assert_eq!(quarantine.refusals.len(), Quarantine::CAPACITY);
    assert_eq!(quarantine.count, Quarantine::CAPACITY);
}
