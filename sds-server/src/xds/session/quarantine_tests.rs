use std::time::Duration;

use tokio::time::Instant;

use super::{EnvoyId, Instance, Quarantine};
use crate::xds::peer::{Account, Place};
use crate::xds::resource::{Content, Kind, Version};

const KIND: Kind = Kind::Secret;

fn envoy() -> EnvoyId {
    of(7, "sidecar")
}

/// An Envoy of that user, which calls itself so.
fn of(user: u32, node: &str) -> EnvoyId {
    let instance = Instance { place: Place::Process(Some(1)), node: node.into() };
    EnvoyId { account: Account::User(user), instance }
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
    // Not what another refused: else one Envoy could keep a certificate from all. Whatever it calls itself.
    let elsewhere = |place| {
        let instance = Instance { place, ..envoy.instance.clone() };
        EnvoyId { instance, ..envoy.clone() }
    };
    for other in [
        of(8, "sidecar"),
        of(7, "gateway"),
        elsewhere(Place::Process(Some(2))),
        elsewhere(Place::Process(None)),
        elsewhere(Place::Host([10, 0, 0, 1].into())),
    ] {
        assert!(!quarantine.holds(&other, KIND, "default", &bad), "{other:?}");
    }
    assert!(quarantine.accept(&envoy, KIND, "default", &good, None));
    assert!(!quarantine.holds(&envoy, KIND, "default", &bad));
    assert_eq!((quarantine.count, quarantine.shares.len()), (0, 0));
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

/// Under one invented node after the other, and under one name of many after the other.
#[test]
fn who_refuses_without_end_pushes_out_what_it_refused_itself() {
    let (envoy, (bad, good)) = (envoy(), versions());
    let start = Instant::now();
    for invents_nodes in [true, false] {
        let mut quarantine = Quarantine::default();
        for name in ["default", "ROOTCA"] {
            let refused = (Content::Certificate, &bad, "no");
            quarantine.record(&envoy, KIND, name, refused, (start, start));
        }
        for turn in 0..Quarantine::CAPACITY + 100 {
            let at = start + Duration::from_millis(1 + turn as u64);
            let invented = turn.to_string();
            let (node, name) =
                if invents_nodes { (&*invented, "default") } else { ("sidecar", &*invented) };
            let refused = (Content::Bundle, &good, "no");
            quarantine.record(&of(8, node), KIND, name, refused, (at, at));
            assert!(quarantine.count <= Quarantine::CAPACITY);
        }
        for name in ["default", "ROOTCA"] {
            assert!(quarantine.holds(&envoy, KIND, name, &bad), "{name}");
        }
        let counted = quarantine.shares.values().map(|share| {
            assert_eq!(share.count, share.envoys.values().map(Vec::len).sum::<usize>());
            share.count
        });
        assert_eq!(counted.sum::<usize>(), Quarantine::CAPACITY);
        assert!(quarantine.forget(&Account::User(8)));
        assert!(!quarantine.forget(&Account::User(8)));
        assert_eq!((quarantine.count, quarantine.shares.len()), (2, 1));
    }
}

#[test]
fn of_the_account_that_has_most_the_oldest_is_forgotten() {
    let (bad, _) = versions();
    let start = Instant::now();
    let mut quarantine = Quarantine::default();
    for turn in 0..=Quarantine::CAPACITY {
        let at = start + Duration::from_millis(turn as u64);
        let refused = (Content::Certificate, &bad, "no");
        quarantine.record(&of(7, &turn.to_string()), KIND, "default", refused, (at, at));
    }
    assert_eq!(quarantine.count, Quarantine::CAPACITY);
    for (turn, is_held) in [(0, false), (1, true), (Quarantine::CAPACITY, true)] {
        let envoy = of(7, &turn.to_string());
        assert_eq!(quarantine.holds(&envoy, KIND, "default", &bad), is_held, "{turn}");
    }
}
