//! What Envoy 1.40 really sends, message by message, and what it must be sent then.

use std::collections::HashMap;

use super::{BOTH, DELTA, Envoy, NOTHING, SECRETS, STATE, Wanted, owned};
use crate::xds::resource::Kind;
use crate::xds::session::Service;

const TRUST_AND_LEAF: [(&str, &str); 2] = [("ROOTCA", "1"), ("default", "1")];

fn exactly(names: &[&str], version: &str) -> Wanted {
    Wanted::Exactly { names: owned(names), version: version.into() }
}

fn changed(more: &[&str], fewer: &[&str]) -> Wanted {
    Wanted::Changed { more: owned(more), fewer: owned(fewer), held: HashMap::new() }
}

#[test]
fn first_fetch() {
    for (protocol, request) in
        [(STATE, exactly(&["default"], "")), (DELTA, changed(&["default"], &[]))]
    {
        let mut envoy = Envoy::new(SECRETS, protocol, &TRUST_AND_LEAF);
        envoy.say(Kind::Secret, "", None, request);
        assert_eq!(super::shown(&envoy.pull()), ["default=1"]);
    }
}

#[test]
fn ack_and_nack() {
    for protocol in BOTH {
        let mut envoy = Envoy::new(SECRETS, protocol, &[("default", "1")]);
        envoy.subscribe(&["default"]);
        let first = envoy.pull();
        let (nonce, version) = (first[0].nonce.to_string(), first[0].version.clone());
        let ack =
            if protocol == STATE { exactly(&["default"], &version) } else { changed(&[], &[]) };
        envoy.say(Kind::Secret, &nonce, None, ack.clone());
        envoy.update(&[("default", "2")]);
        let second = envoy.pull();
        assert_eq!(super::shown(&second), ["default=2"]);
        // A NACK repeats the version before, and names no resource.
        envoy.say(Kind::Secret, &second[0].nonce.to_string(), Some("Failed to load"), ack);
        assert_eq!(envoy.accept(), NOTHING);
    }
}

#[test]
fn new_listener_on_an_aggregated_stream() {
    for protocol in BOTH {
        let mut envoy = Envoy::new(Service::Aggregated, protocol, &TRUST_AND_LEAF);
        envoy.subscribe(&["ROOTCA"]);
        envoy.accept();
        // All names with the last nonce; only the new ones and none.
        let nonce = envoy.last_nonce[&Kind::Secret].clone();
        let version = envoy.version[&Kind::Secret].clone();
        match protocol {
            STATE => {
                envoy.say(Kind::Secret, &nonce, None, exactly(&["ROOTCA", "default"], &version))
            }
            DELTA => envoy.say(Kind::Secret, "", None, changed(&["default"], &[])),
        };
        assert_eq!(super::shown(&envoy.pull()), ["default=1"]);
        assert_eq!(
            envoy
                .events
                .iter()
                .filter(|event| matches!(event, crate::xds::event::Event::StaleNonce { .. }))
                .count(),
            0
        );
    }
}

#[test]
fn listener_removed() {
    for protocol in BOTH {
        for service in [SECRETS, Service::Aggregated] {
            let mut envoy = Envoy::new(service, protocol, &TRUST_AND_LEAF);
            envoy.subscribe(&["ROOTCA", "default"]);
            envoy.accept();
            // Shrinking lists with the last version and nonce; an unsubscription without a nonce.
            for gone in ["default", "ROOTCA"] {
                envoy.unsubscribe(&[gone]);
                assert_eq!(envoy.accept(), NOTHING);
            }
            envoy.update(&[("ROOTCA", "2"), ("default", "2")]);
            assert_eq!(envoy.accept(), NOTHING);
            envoy.subscribe(&["default"]);
            assert_eq!(envoy.accept(), ["default=2"], "and the listener is back");
        }
    }
}

#[test]
fn reconnect_with_what_is_current() {
    for protocol in BOTH {
        let mut envoy = Envoy::new(SECRETS, protocol, &TRUST_AND_LEAF);
        envoy.subscribe(&["default", "ROOTCA"]);
        envoy.accept();
        let mut envoy = envoy.reconnect(&TRUST_AND_LEAF);
        assert_eq!(envoy.accept(), NOTHING);
        envoy.update(&[("ROOTCA", "1"), ("default", "2")]);
        assert_eq!(envoy.accept(), ["default=2"]);
    }
}

#[test]
fn reconnect_before_the_server_knows_anything() {
    for protocol in BOTH {
        let mut envoy = Envoy::new(SECRETS, protocol, &TRUST_AND_LEAF);
        envoy.subscribe(&["default", "ROOTCA"]);
        envoy.accept();
        let mut envoy = envoy.reconnect(&[]);
        assert_eq!(envoy.accept(), NOTHING);
        envoy.update(&TRUST_AND_LEAF);
        assert_eq!(envoy.accept(), NOTHING, "it has all this");
        envoy.update(&[("ROOTCA", "2"), ("default", "1")]);
        assert_eq!(envoy.accept(), ["ROOTCA=2"]);
    }
}

#[test]
fn reconnect_with_something_older() {
    for (protocol, expected) in [(STATE, &["ROOTCA=1", "default=2"][..]), (DELTA, &["default=2"])] {
        let mut envoy = Envoy::new(SECRETS, protocol, &TRUST_AND_LEAF);
        envoy.subscribe(&["default", "ROOTCA"]);
        envoy.accept();
        let mut envoy = envoy.reconnect(&[("ROOTCA", "1"), ("default", "2")]);
        assert_eq!(envoy.accept(), expected, "in doubt everything, where one version is of all");
    }
}

#[test]
fn reconnect_with_a_version_that_is_none_of_ours() {
    for protocol in BOTH {
        let mut envoy = Envoy::new(SECRETS, protocol, &[]);
        envoy.names.insert(Kind::Secret, ["default".to_owned()].into());
        envoy.version.insert(Kind::Secret, "7".into());
        envoy.holds.insert("default".into(), "7".into());
        let mut envoy = envoy.reconnect(&TRUST_AND_LEAF);
        assert_eq!(envoy.accept(), ["default=1"]);
    }
}

#[test]
fn reconnect_after_a_removal_does_not_name_it() {
    let mut envoy = Envoy::new(SECRETS, DELTA, &[("spiffe://sni/a", "1"), ("spiffe://sni/b", "1")]);
    envoy.subscribe(&["spiffe://sni/a", "spiffe://sni/b"]);
    envoy.accept();
    envoy.update(&[("spiffe://sni/b", "1")]);
    assert_eq!(envoy.accept(), ["spiffe://sni/a gone"]);
    assert!(!envoy.holds.contains_key("spiffe://sni/a"));
    let mut envoy = envoy.reconnect(&[("spiffe://sni/b", "1")]);
    assert_eq!(envoy.accept(), ["spiffe://sni/a gone"], "it waits again");
}

#[test]
fn reconnect_of_an_aggregated_stream() {
    for protocol in BOTH {
        let entries = [("default", "1"), ("signet.http", "1")];
        let mut envoy = Envoy::new(Service::Aggregated, protocol, &entries);
        envoy.subscribe(&["default", "signet.http"]);
        envoy.accept();
        let mut envoy = envoy.reconnect(&[("default", "1"), ("signet.http", "2")]);
        assert_eq!(envoy.accept(), ["signet.http=2"]);
    }
}
