//! Refusals: what is not sent again, to whom, and what heals.

use super::{BOTH, Envoy, NOTHING, SECRETS};
use crate::xds::event::Event;
use crate::xds::resource::Kind;

/// An Envoy that accepted the first and refused the second `default`.
fn refusing(protocol: super::Protocol) -> Envoy {
    let mut envoy = Envoy::new(SECRETS, protocol, &[("default", "1")]);
    envoy.subscribe(&["default"]);
    assert_eq!(envoy.accept(), ["default=1"]);
    envoy.update(&[("default", "2")]);
    assert_eq!(envoy.refuse(), ["default=2"]);
    envoy
}

#[test]
fn refused_bytes_are_not_sent_again_on_the_stream() {
    for protocol in BOTH {
        let mut envoy = refusing(protocol);
        assert_eq!(envoy.update(&[("default", "2"), ("other", "1")]), []);
        assert_eq!(envoy.accept(), NOTHING);
        envoy.update(&[("default", "1")]);
        assert_eq!(envoy.accept(), ["default=1"], "back to what is good: the bad bytes are stored");
        envoy.update(&[("default", "3")]);
        assert_eq!(envoy.accept(), ["default=3"]);
        envoy.update(&[("default", "2")]);
        assert_eq!(
            envoy.accept(),
            ["default=2"],
            "after others were accepted it may be tried again"
        );
    }
}

#[test]
fn refused_bytes_are_withheld_across_reconnects_whatever_version_is_claimed() {
    for protocol in BOTH {
        let envoy = refusing(protocol);
        let mut envoy = envoy.reconnect(&[("default", "2")]);
        let reasons: Vec<&str> = envoy
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Withheld { reason, .. } => Some(&**reason),
                _ => None,
            })
            .collect();
        assert_eq!(reasons, ["no"], "what it said on the earlier stream");
        assert_eq!(envoy.accept(), NOTHING);

        // Envoy says that it has the bytes that it refused.
        let mut trusting = Envoy::new(SECRETS, protocol, &[("default", "2")]);
        trusting.subscribe(&["default"]);
        let sent = trusting.pull();
        envoy.version.insert(Kind::Secret, sent[0].version.clone());
        if let super::Says::Have(resource) = &sent[0].says {
            envoy.holds.insert("default".into(), resource.version.to_string());
        }
        let mut envoy = envoy.reconnect(&[("default", "2")]);
        assert_eq!(envoy.accept(), NOTHING);
        envoy.update(&[("default", "1")]);
        assert_eq!(envoy.accept(), ["default=1"], "it is not believed: {protocol:?}");
    }
}

#[test]
fn an_envoy_that_has_nothing_is_tried_a_few_times_and_its_ack_is_not_believed() {
    for protocol in BOTH {
        let mut envoy = Envoy::new(SECRETS, protocol, &[("default", "1")]);
        envoy.subscribe(&["default"]);
        for _ in 0..3 {
            assert_eq!(envoy.refuse(), ["default=1"]);
            envoy = envoy.reconnect(&[("default", "1")]);
        }
        assert_eq!(envoy.accept(), NOTHING);

        let mut envoy = Envoy::new(SECRETS, protocol, &[("default", "1")]);
        envoy.subscribe(&["default"]);
        envoy.refuse();
        let mut envoy = envoy.reconnect(&[("default", "1")]);
        envoy.events.clear();
        assert_eq!(envoy.accept(), ["default=1"]);
        assert!(matches!(&envoy.events[..], [Event::Acked { believed: false, .. }]));
    }
}

#[test]
fn endless_refusals_cost_one_send_for_each_change() {
    for protocol in BOTH {
        let mut envoy = Envoy::new(SECRETS, protocol, &[]);
        envoy.subscribe(&["ROOTCA", "default"]);
        for change in 0..50 {
            let (trust, leaf) = ((change / 2).to_string(), change.to_string());
            envoy.update(&[("ROOTCA", &trust), ("default", &leaf)]);
            let expected = if change % 2 == 0 {
                vec![format!("ROOTCA={trust}"), format!("default={leaf}")]
            } else {
                vec![format!("default={leaf}")]
            };
            assert_eq!(envoy.refuse(), expected);
            for _ in 0..3 {
                envoy.wait(100);
                assert_eq!(envoy.refuse(), NOTHING);
            }
        }
        let refused =
            envoy.events.iter().filter(|event| matches!(event, Event::Nacked { .. })).count();
        assert_eq!(refused, 75);
    }
}

#[test]
fn a_refusal_that_is_anothers_fault_is_healed_by_the_culprits_good_bytes() {
    for protocol in BOTH {
        let mut envoy = Envoy::new(SECRETS, protocol, &[("ROOTCA", "1"), ("default", "1")]);
        envoy.subscribe(&["ROOTCA", "default"]);
        envoy.accept();
        envoy.update(&[("ROOTCA", "1"), ("default", "2")]);
        assert_eq!(envoy.refuse(), ["default=2"]);
        assert_eq!(envoy.accept(), NOTHING, "alone it does no harm: the old one serves");

        // The Envoy tries the good root together with the bad leaf that it has stored.
        envoy.update(&[("ROOTCA", "2"), ("default", "2")]);
        assert_eq!(envoy.refuse(), ["ROOTCA=2"]);
        assert_eq!(envoy.accept(), ["default=1"], "{protocol:?}");
        assert_eq!(envoy.accept(), ["ROOTCA=2"], "cleared, and tried once more");
        assert_eq!(envoy.accept(), NOTHING, "the culprit stays refused");
        let mut envoy = envoy.reconnect(&[("ROOTCA", "2"), ("default", "2")]);
        assert!(!envoy.accept().contains(&"default=2".to_owned()));
        envoy.update(&[("ROOTCA", "2"), ("default", "3")]);
        assert_eq!(envoy.accept().last().map(String::as_str), Some("default=3"));
    }
}

#[test]
fn healing_is_tried_once() {
    for protocol in BOTH {
        let mut envoy = Envoy::new(SECRETS, protocol, &[("ROOTCA", "1"), ("default", "1")]);
        envoy.subscribe(&["ROOTCA", "default"]);
        envoy.accept();
        envoy.update(&[("ROOTCA", "2"), ("default", "2")]);
        assert_eq!(envoy.refuse(), ["ROOTCA=2", "default=2"]);
        assert_eq!(envoy.refuse(), ["ROOTCA=1"], "the first that it refused is the culprit");
        for _ in 0..5 {
            envoy.wait(100);
            assert_eq!(envoy.refuse(), NOTHING);
        }
        envoy.update(&[("ROOTCA", "3"), ("default", "2")]);
        assert_eq!(envoy.accept(), ["ROOTCA=3"]);
        assert_eq!(envoy.accept(), ["default=2"], "only a suspect");
    }
}

#[test]
fn good_bytes_are_not_kept_when_the_name_is_withdrawn_or_they_expire() {
    for protocol in BOTH {
        let mut envoy = Envoy::new(SECRETS, protocol, &[("ROOTCA", "1"), ("default", "1")]);
        envoy.subscribe(&["ROOTCA", "default"]);
        envoy.accept();
        envoy.update(&[("ROOTCA", "1"), ("default", "2")]);
        envoy.refuse();
        envoy.update(&[("ROOTCA", "1")]);
        envoy.update(&[("ROOTCA", "2"), ("default", "2")]);
        assert_eq!(envoy.refuse(), ["ROOTCA=2"]);
        assert_eq!(envoy.accept(), NOTHING);
    }
}

#[test]
fn an_answer_to_what_was_overtaken_still_counts() {
    for protocol in BOTH {
        let mut envoy = Envoy::new(SECRETS, protocol, &[("default", "1")]);
        envoy.subscribe(&["default"]);
        let first = envoy.pull();
        envoy.update(&[("default", "2")]);
        let second = envoy.pull();
        let events = envoy.answer(Kind::Secret, &first[0].nonce.to_string(), Some("no"));
        assert!(matches!(&events[..], [Event::Nacked { .. }]), "{events:?}");
        let events = envoy.answer(Kind::Secret, &second[0].nonce.to_string(), None);
        assert!(matches!(&events[..], [Event::Acked { believed: true, .. }]), "{events:?}");
        assert_eq!(envoy.accept(), NOTHING);
    }
}
