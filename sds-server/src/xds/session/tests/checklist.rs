//! The protocol, rule by rule, for both of its forms unless a name says otherwise.

use std::collections::HashMap;
use std::sync::Arc;

use super::{BOTH, CONFIG, DELTA, Envoy, NOTHING, SECRETS, STATE, Wanted, catalogue, owned, shown};
use crate::sources::Moment;
use crate::xds::event::Event;
use crate::xds::grant::{Grant, Permitted};
use crate::xds::resource::Kind;
use crate::xds::session::{Request, Says, Service, fetch};
use crate::xds::status::Refusal;

#[test]
fn every_service_speaks_both_protocols_and_an_aggregated_one_serves_all_kinds() {
    let entries = [("ROOTCA", "1"), ("default", "2"), ("signet.http", "3")];
    for protocol in BOTH {
        for (service, names, expected) in [
            (SECRETS, &["default"][..], &["default=2"][..]),
            (Service::Of(Kind::Extension), &["signet.http"], &["signet.http=3"]),
            (
                Service::Aggregated,
                &["signet.http", "default", "ROOTCA"],
                &["ROOTCA=1", "default=2", "signet.http=3"],
            ),
        ] {
            let mut envoy = Envoy::new(service, protocol, &entries);
            envoy.subscribe(names);
            assert_eq!(envoy.accept(), expected, "{service:?} {protocol:?}");
            assert_eq!(envoy.accept(), NOTHING);
        }
    }
}

#[test]
fn trust_comes_first_and_each_response_has_one_resource() {
    for protocol in BOTH {
        let entries = [("ROOTCA", "1"), ("default", "1"), ("spiffe://example.org", "1")];
        let mut envoy = Envoy::new(SECRETS, protocol, &entries);
        envoy.subscribe(&["default", "ROOTCA", "spiffe://example.org"]);
        assert_eq!(envoy.accept(), ["ROOTCA=1", "spiffe://example.org=1", "default=1"]);
        envoy.update(&[("ROOTCA", "2"), ("default", "2"), ("spiffe://example.org", "1")]);
        assert_eq!(envoy.accept(), ["ROOTCA=2", "default=2"], "also when both change");
    }
}

#[test]
fn nonces_are_of_one_stream_and_a_stale_one_is_no_answer_but_its_names_count() {
    for protocol in BOTH {
        let mut envoy = Envoy::new(SECRETS, protocol, &[("ROOTCA", "1"), ("default", "1")]);
        envoy.subscribe(&["ROOTCA"]);
        let first = envoy.pull();
        let wanted = match protocol {
            STATE => Wanted::Exactly {
                names: owned(&["ROOTCA", "default"]),
                version: "of another stream".into(),
            },
            DELTA => Wanted::Changed {
                more: owned(&["default"]),
                fewer: Vec::new(),
                held: HashMap::new(),
            },
        };
        envoy.names.entry(Kind::Secret).or_default().insert("default".into());
        for nonce in ["99", "-1", "0", "x"] {
            let events = envoy.say(Kind::Secret, nonce, Some("about what?"), wanted.clone());
            assert_eq!(events, [Event::StaleNonce { kind: Kind::Secret }], "{protocol:?} {nonce}");
        }
        assert_eq!(envoy.accept(), ["default=1"]);
        let events = envoy.answer(Kind::Secret, &first[0].nonce.to_string(), None);
        assert!(matches!(&events[..], [Event::Acked { believed: true, .. }]), "{events:?}");
    }
}

#[test]
fn an_answer_without_a_nonce_is_none_whatever_it_says() {
    for protocol in BOTH {
        let mut envoy = Envoy::new(SECRETS, protocol, &[("default", "1")]);
        envoy.subscribe(&["default"]);
        envoy.pull();
        assert_eq!(envoy.answer(Kind::Secret, "", None), []);
        assert_eq!(envoy.answer(Kind::Secret, "", Some("no")), []);
        assert_eq!(envoy.accept(), NOTHING);
    }
}

#[test]
fn a_version_is_of_the_content_and_the_same_after_a_restart() {
    for protocol in BOTH {
        let entries = [("ROOTCA", "1"), ("default", "1")];
        let versions = || {
            let mut envoy = Envoy::new(SECRETS, protocol, &entries);
            envoy.subscribe(&["default", "ROOTCA"]);
            let sent = envoy.pull();
            sent.into_iter().map(|response| response.version).collect::<Vec<_>>()
        };
        assert_eq!(versions(), versions());
        assert_ne!(versions()[0], versions()[1], "of all that the peer holds");
    }
}

#[test]
fn only_what_changed_is_sent() {
    for protocol in BOTH {
        let mut envoy = Envoy::new(SECRETS, protocol, &[("ROOTCA", "1"), ("default", "1")]);
        envoy.subscribe(&["default", "ROOTCA"]);
        envoy.accept();
        envoy.update(&[("ROOTCA", "1"), ("default", "2")]);
        assert_eq!(envoy.accept(), ["default=2"]);
        envoy.update(&[("ROOTCA", "1"), ("default", "2"), ("other", "1")]);
        assert_eq!(envoy.accept(), NOTHING);
    }
}

#[test]
fn a_slow_peer_gets_the_latest_state_only_and_its_bytes_are_shared() {
    for protocol in BOTH {
        let mut envoy = Envoy::new(SECRETS, protocol, &[("default", "1")]);
        envoy.subscribe(&["default"]);
        envoy.update(&[("default", "2")]);
        let last = catalogue(&[("default", "3")], envoy.now);
        envoy.session.update(Arc::clone(&last), &envoy.quarantine, envoy.now);
        let sent = envoy.pull();
        assert_eq!(shown(&sent), ["default=3"]);
        let Says::Have(resource) = &sent[0].says else { panic!("{sent:?}") };
        let of_catalogue = last.find(Kind::Secret, "default").expect("there").encoded.as_ptr();
        assert_eq!(resource.encoded.as_ptr(), of_catalogue);
        let pieces = sent[0].clone().encode(protocol);
        assert_eq!(pieces.last().map(|piece| piece.as_ptr()), Some(of_catalogue));
    }
}

#[test]
fn what_has_expired_is_not_sent_though_the_catalogue_has_it_still() {
    for protocol in BOTH {
        let mut envoy = Envoy::new(SECRETS, protocol, &[("default", "1!")]);
        envoy.subscribe(&["default"]);
        assert_eq!(envoy.accept(), NOTHING);
    }
}

#[test]
fn no_filter_is_configured_before_there_is_a_policy() {
    for protocol in BOTH {
        let mut envoy = Envoy::new(Service::Of(Kind::Extension), protocol, &[("default", "1")]);
        envoy.subscribe(&["signet.http"]);
        assert_eq!(envoy.accept(), NOTHING);
        envoy.update(&[("default", "1"), ("signet.http", "1")]);
        assert_eq!(envoy.accept(), ["signet.http=1"]);
    }
}

#[test]
fn a_wrong_type_is_refused_by_a_service_of_one_kind_and_ignored_by_an_aggregated_one() {
    let cluster = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
    for protocol in BOTH {
        for type_url in [Kind::Extension.type_url(), cluster] {
            let request = Request { type_url: type_url.into(), ..Default::default() };
            let refused = Envoy::new(SECRETS, protocol, &[]).try_say(request);
            let expected = Refusal::TypeUrl { found: type_url.into(), accepted: Kind::Secret };
            assert_eq!(refused, Err(expected));
        }
        let mut envoy = Envoy::new(Service::Aggregated, protocol, &[("default", "1")]);
        envoy.subscribe(&["default"]);
        let request = Request { type_url: cluster.into(), nonce: "1".into(), ..Default::default() };
        assert_eq!(envoy.try_say(request), Ok(vec![Event::Ignored { type_url: cluster.into() }]));
        assert_eq!(envoy.accept(), ["default=1"]);
    }
}

#[test]
fn a_service_of_one_kind_needs_no_type_url() {
    let mut envoy = Envoy::new(SECRETS, STATE, &[("default", "1")]);
    let wanted = Wanted::Exactly { names: owned(&["default"]), version: String::new() };
    envoy.try_say(Request { wanted, ..Default::default() }).expect("accepted");
    assert_eq!(shown(&envoy.pull()), ["default=1"]);
}

#[test]
fn too_many_names_are_refused_in_one_request_and_over_several() {
    for protocol in BOTH {
        let mut envoy = Envoy::new(SECRETS, protocol, &[]);
        let ask = |names: &[&str]| Request {
            wanted: match protocol {
                STATE => Wanted::Exactly { names: owned(names), version: String::new() },
                DELTA => {
                    Wanted::Changed { more: owned(names), fewer: Vec::new(), held: HashMap::new() }
                }
            },
            ..Default::default()
        };
        let many = Refusal::TooManyNames { found: 5, accepted: 4 };
        assert_eq!(envoy.try_say(ask(&["a"; 5])), Err(many.clone()));
        let long = Refusal::NamesTooLong { found: 101, accepted: 100 };
        assert_eq!(envoy.try_say(ask(&["x".repeat(101).as_str()])), Err(long));
        if protocol == DELTA {
            let mut envoy = Envoy::new(SECRETS, protocol, &[]);
            envoy.try_say(ask(&["a", "b", "c"])).expect("few enough");
            assert_eq!(envoy.try_say(ask(&["d", "e"])), Err(many));
        }
    }
}

#[test]
fn a_fetch_returns_what_is_known() {
    let now = Moment::now();
    let entries =
        [("ROOTCA", "1"), ("default", "1"), ("spiffe://old/a", "1!"), ("spiffe://a/a", "1")];
    let permitted = Permitted::new(catalogue(&entries, now), Arc::new(Grant::Everything));
    let ask = |names: &[&str]| {
        let wanted = Wanted::Exactly { names: owned(names), version: String::new() };
        let request = Request { wanted, ..Default::default() };
        fetch(Kind::Secret, &request, &CONFIG.limits, permitted.clone(), now)
            .map(|pieces| pieces.len() / 2)
    };
    assert_eq!(ask(&["ROOTCA", "default", "unknown", "spiffe://old/a"]), Ok(2));
    assert_eq!(ask(&[]), Ok(1), "each thing under its own name");
    for names in [&["unknown"][..], &["spiffe://old/a"]] {
        assert_eq!(ask(names), Err(Refusal::NothingToFetch { kind: Kind::Secret }));
    }
    assert!(matches!(ask(&["x"; 5]), Err(Refusal::TooManyNames { .. })));
}

#[test]
fn on_an_aggregated_stream_everything_is_repeated_a_few_times_ever_more_rarely() {
    for protocol in BOTH {
        let mut envoy = Envoy::new(Service::Aggregated, protocol, &[("default", "1")]);
        envoy.subscribe(&["default"]);
        assert_eq!(envoy.accept(), ["default=1"]);
        let again = |envoy: &mut Envoy, seconds| {
            envoy.wait(seconds);
            envoy.accept()
        };
        for (seconds, expected) in [(9, 0), (1, 1), (59, 0), (1, 1), (299, 0), (1, 1), (9999, 0)] {
            assert_eq!(again(&mut envoy, seconds), vec!["default=1"; expected], "{protocol:?}");
        }
        assert_eq!(envoy.session.next_deadline(), None);

        // A sign that the Envoy's configuration changed begins it anew.
        if protocol == STATE {
            let nonce = envoy.last_nonce[&Kind::Secret].clone();
            assert_eq!(envoy.answer(Kind::Secret, &nonce, None), []);
        } else {
            envoy.subscribe(&["ROOTCA"]);
        }
        for (seconds, expected) in [(0, 0), (1, 1), (9, 0), (1, 1), (60, 1), (300, 1), (9999, 0)] {
            assert_eq!(again(&mut envoy, seconds), vec!["default=1"; expected], "{protocol:?}");
        }

        // What is refused is not repeated.
        envoy.update(&[("default", "2")]);
        assert_eq!(envoy.refuse(), ["default=2"]);
        assert_eq!(again(&mut envoy, 9999), NOTHING);
    }
}

#[test]
fn a_stream_of_one_kind_repeats_nothing() {
    for protocol in BOTH {
        let mut envoy = Envoy::new(SECRETS, protocol, &[("default", "1")]);
        envoy.subscribe(&["default"]);
        envoy.accept();
        assert_eq!(envoy.session.next_deadline(), None);
        envoy.wait(9999);
        assert_eq!(envoy.accept(), NOTHING);
    }
}
