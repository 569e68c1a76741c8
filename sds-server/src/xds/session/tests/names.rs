//! The protocol's names: which are answered, how they come and go, for both of its forms unless a test's
//! name says otherwise.

use super::{BOTH, DELTA, Envoy, NOTHING, SECRETS, STATE, Wanted, granted, listed};
use crate::xds::absence::Absence;
use crate::xds::event::Event;
use crate::xds::resource::Kind;

#[test]
fn an_unknown_name_is_silent_until_it_appears_and_withholds_nothing() {
    let later = "spiffe://example.org/later";
    for protocol in BOTH {
        let mut envoy = Envoy::new(SECRETS, protocol, &[("default", "1")]);
        envoy.subscribe(&[later, "default"]);
        assert_eq!(envoy.accept(), ["default=1"]);
        assert_eq!(envoy.wait(9), []);
        let absence = Absence::NotIssued(later.parse().expect("an ID"));
        let told = Event::Unanswered { kind: Kind::Secret, name: later.into(), absence };
        assert_eq!(envoy.wait(1), [told], "{protocol:?}");
        assert_eq!(envoy.wait(60), [], "told once");
        envoy.update(&[("default", "1"), (later, "1")]);
        assert_eq!(envoy.accept(), [format!("{later}=1")]);
        assert_eq!(envoy.session.next_deadline(), None);
    }
}

#[test]
fn a_name_that_nothing_can_ever_answer_is_told_at_once() {
    for protocol in BOTH {
        let mut envoy = Envoy::new(SECRETS, protocol, &[("default", "1")]);
        envoy.subscribe(&["defualt", "default"]);
        assert_eq!(envoy.accept(), ["default=1"]);
        let told = &envoy.events[0];
        assert!(matches!(told, Event::Unanswered { absence: Absence::Name(_), .. }), "{told:?}");
        assert_eq!(envoy.wait(60), [], "told once");
    }
}

#[test]
fn what_is_not_the_peers_looks_like_what_is_unknown() {
    for protocol in BOTH {
        let entries = [("ROOTCA", "1"), ("default", "1"), ("spiffe://sni/theirs", "1")];
        let mut envoy = Envoy::new(SECRETS, protocol, &[]);
        envoy.session = granted(SECRETS, protocol, &entries, envoy.now, listed(&["ROOTCA"]));
        envoy.subscribe(&["ROOTCA", "default", "spiffe://sni/theirs", "spiffe://sni/none"]);
        let gone = ["spiffe://sni/none gone", "spiffe://sni/theirs gone"];
        let expected = if protocol == DELTA { gone.as_slice() } else { &[] };
        assert_eq!(envoy.accept(), [expected, &["ROOTCA=1"]].concat());
        let told = envoy.wait(10);
        assert!(
            told.contains(&Event::Unanswered {
                kind: Kind::Secret,
                name: "default".into(),
                absence: Absence::NotPermitted,
            }),
            "the operator is told the difference: {told:?}"
        );
        envoy.update(&[("ROOTCA", "1"), ("default", "2"), ("spiffe://sni/theirs", "2")]);
        assert_eq!(envoy.accept(), NOTHING);
    }
}

#[test]
fn a_grant_that_shrinks_or_grows_counts_from_then_on() {
    for protocol in BOTH {
        let mut envoy = Envoy::new(SECRETS, protocol, &[("ROOTCA", "1"), ("default", "1")]);
        envoy.subscribe(&["ROOTCA", "default"]);
        assert_eq!(envoy.accept(), ["ROOTCA=1", "default=1"]);
        assert_eq!(envoy.regrant(&["ROOTCA"]), []);
        envoy.update(&[("ROOTCA", "2"), ("default", "2")]);
        assert_eq!(envoy.accept(), ["ROOTCA=2"]);
        envoy.regrant(&["default"]);
        envoy.update(&[("ROOTCA", "3"), ("default", "2")]);
        assert_eq!(envoy.accept(), ["default=2"]);
    }
}

#[test]
fn in_delta_a_name_for_which_a_handshake_waits_is_answered_at_once() {
    let mut envoy = Envoy::new(SECRETS, DELTA, &[("spiffe://sni/a", "1")]);
    envoy.subscribe(&["spiffe://sni/a", "spiffe://sni/b"]);
    assert_eq!(envoy.accept(), ["spiffe://sni/b gone", "spiffe://sni/a=1"]);
    assert_eq!(envoy.wait(60), [], "that is an answer");
    envoy.subscribe(&["spiffe://sni/b"]);
    assert_eq!(envoy.accept(), ["spiffe://sni/b gone"], "asked again, told again");
    envoy.update(&[("spiffe://sni/a", "1"), ("spiffe://sni/b", "1")]);
    assert_eq!(envoy.accept(), ["spiffe://sni/b=1"]);
    envoy.update(&[("spiffe://sni/b", "1")]);
    assert_eq!(envoy.accept(), ["spiffe://sni/a gone"], "withdrawn");
    envoy.update(&[("spiffe://sni/b", "1"), ("spiffe://sni/a", "1")]);
    assert_eq!(envoy.accept(), ["spiffe://sni/a=1"]);
    envoy.update(&[("spiffe://sni/a", "1"), ("spiffe://sni/b", "1!")]);
    assert_eq!(envoy.accept(), ["spiffe://sni/b gone"], "expired");
}

#[test]
fn a_removal_may_be_refused_without_harm() {
    let mut envoy = Envoy::new(SECRETS, DELTA, &[]);
    envoy.subscribe(&["spiffe://sni/a"]);
    let sent = envoy.pull();
    let events = envoy.answer(Kind::Secret, &sent[0].nonce.to_string(), Some("no"));
    let told = Event::GoneAnswered {
        kind: Kind::Secret,
        name: "spiffe://sni/a".into(),
        refused: Some("no".into()),
    };
    assert_eq!(events, [told]);
    assert_eq!(envoy.accept(), NOTHING);
    envoy.update(&[("spiffe://sni/a", "1")]);
    assert_eq!(envoy.accept(), ["spiffe://sni/a=1"]);
}

#[test]
fn an_ordinary_secret_that_vanishes_is_not_withdrawn_and_returns_when_it_differs() {
    for protocol in BOTH {
        let mut envoy = Envoy::new(SECRETS, protocol, &[("default", "1")]);
        envoy.subscribe(&["default"]);
        envoy.accept();
        envoy.update(&[]);
        assert_eq!(envoy.accept(), NOTHING);
        envoy.update(&[("default", "1")]);
        assert_eq!(envoy.accept(), NOTHING, "the peer holds it still");
        envoy.update(&[("default", "2")]);
        assert_eq!(envoy.accept(), ["default=2"]);
    }
}

#[test]
fn what_a_peer_holds_already_is_told_and_not_sent() {
    let bundle = [("ROOTCA", "1")];
    let holds = |events: &[Event]| {
        events.iter().filter(|event| matches!(event, Event::Holds { .. })).cloned().collect()
    };
    for protocol in BOTH {
        let mut envoy = Envoy::new(SECRETS, protocol, &bundle);
        envoy.subscribe(&["ROOTCA"]);
        assert_eq!(envoy.accept(), ["ROOTCA=1"]);
        assert_eq!(holds(&envoy.events), Vec::<Event>::new(), "it was sent");

        // It is there again after the operators were told that it is not.
        envoy.update(&[]);
        assert_eq!(envoy.wait(10).len(), 1);
        let back: Vec<Event> = holds(&envoy.update(&bundle));
        let [Event::Holds { kind: Kind::Secret, name, version, policy: None }] = &back[..] else {
            panic!("{protocol:?}: {back:?}")
        };
        assert_eq!((name.as_str(), &version.to_string()), ("ROOTCA", &envoy.holds["ROOTCA"]));
        assert_eq!(holds(&envoy.update(&bundle)), Vec::<Event>::new(), "told once");

        // What it brings along to a new stream; what it does not have is sent.
        envoy.events.clear();
        let mut envoy = envoy.reconnect(&bundle);
        assert_eq!((envoy.accept(), &holds(&envoy.events)), (Vec::new(), &back));
        assert_eq!(envoy.wait(60), []);
        envoy.events.clear();
        let mut envoy = envoy.reconnect(&[("ROOTCA", "2")]);
        assert_eq!((envoy.accept(), holds(&envoy.events)), (vec!["ROOTCA=2".into()], Vec::new()));
    }
}

#[test]
fn names_that_a_peer_only_says_it_holds_count_among_the_bytes_that_are_kept() {
    let mut envoy = Envoy::new(SECRETS, DELTA, &[]);
    let held = [("spiffe://example.org/gone".to_owned(), String::new())].into();
    let all = Wanted::Changed { more: Vec::new(), fewer: Vec::new(), held };
    envoy.say(Kind::Secret, "", None, all);
    assert_eq!(envoy.session.name_bytes(), "spiffe://example.org/gone".len());
    envoy.update(&[("spiffe://example.org/a", "1")]);
    assert_eq!(envoy.session.name_bytes(), "spiffe://example.org/a".len(), "it has gone");
}

#[test]
fn an_empty_list_means_all_at_first() {
    let entries = [
        ("ROOTCA", "1"),
        ("default", "1"),
        ("spiffe://example.org", "1"),
        ("spiffe://example.org/a", "1"),
    ];
    for protocol in BOTH {
        let mut envoy = Envoy::new(SECRETS, protocol, &entries);
        envoy.subscribe_to_all();
        let all = ["spiffe://example.org=1", "spiffe://example.org/a=1"];
        assert_eq!(envoy.accept(), all, "each thing once");
        envoy.update(&[("spiffe://example.org", "1"), ("spiffe://example.org/ab", "1")]);
        assert_eq!(envoy.accept(), ["spiffe://example.org/ab=1"]);
        assert_eq!(envoy.wait(60), [], "what is not there is not missed");
        envoy.subscribe(&["default"]);
        envoy.update(&[("default", "1"), ("spiffe://example.org/ab", "2")]);
        let expected: &[&str] = match protocol {
            STATE => &["default=1"],
            DELTA => &["default=1", "spiffe://example.org/ab=2"],
        };
        assert_eq!(envoy.accept(), expected, "a list replaces it only where lists are whole");
    }
}

#[test]
fn a_star_means_all_too() {
    for protocol in BOTH {
        let mut envoy = Envoy::new(SECRETS, protocol, &[("default", "1"), ("spiffe://a/a", "1")]);
        envoy.subscribe(&["*", "default"]);
        assert_eq!(envoy.accept(), ["default=1", "spiffe://a/a=1"]);
        envoy.unsubscribe(&["*"]);
        envoy.update(&[("default", "2"), ("spiffe://a/a", "2")]);
        assert_eq!(envoy.accept(), ["default=2"]);
    }
}

#[test]
fn an_empty_list_later_means_nothing() {
    for protocol in BOTH {
        let mut envoy = Envoy::new(SECRETS, protocol, &[("ROOTCA", "1"), ("default", "1")]);
        envoy.subscribe(&["default"]);
        envoy.accept();
        envoy.unsubscribe(&["default"]);
        envoy.update(&[("ROOTCA", "2"), ("default", "2")]);
        assert_eq!(envoy.accept(), NOTHING);
        assert_eq!(envoy.session.next_deadline(), None);
    }
}

#[test]
fn names_come_and_go_on_a_live_stream() {
    for protocol in BOTH {
        let mut envoy = Envoy::new(SECRETS, protocol, &[("ROOTCA", "1"), ("default", "1")]);
        envoy.subscribe(&["ROOTCA"]);
        assert_eq!(envoy.accept(), ["ROOTCA=1"]);
        envoy.subscribe(&["default"]);
        assert_eq!(envoy.accept(), ["default=1"]);
        envoy.events.clear();
        envoy.unsubscribe(&["default"]);
        assert_eq!(
            envoy.events,
            [Event::Unsubscribed { kind: Kind::Secret, name: "default".into() }]
        );
        envoy.update(&[("ROOTCA", "1"), ("default", "2")]);
        assert_eq!(envoy.accept(), NOTHING);
        envoy.subscribe(&["default"]);
        assert_eq!(envoy.accept(), ["default=2"]);
        envoy.unsubscribe(&["default"]);
        envoy.subscribe(&["default"]);
        assert_eq!(envoy.accept(), ["default=2"], "subscribed anew, sent anew");
    }
}

#[test]
fn in_delta_what_is_asked_for_again_is_sent_again() {
    let mut envoy = Envoy::new(SECRETS, DELTA, &[("default", "1")]);
    envoy.subscribe(&["default"]);
    assert_eq!(envoy.accept(), ["default=1"]);
    envoy.subscribe(&["default"]);
    assert_eq!(envoy.accept(), ["default=1"]);
    assert_eq!(envoy.accept(), NOTHING);
}
