//! What SPIRE's agent refuses or does otherwise, and what must just work here.

use super::{BOTH, Envoy, NOTHING, SECRETS};
use crate::xds::resource::Kind;

const OWN: &str = "spiffe://example.org/a";
const DOMAIN: &str = "spiffe://example.org";

#[test]
fn mixtures_of_names_work() {
    let entries = [("ALL", "1"), ("ROOTCA", "1"), ("default", "1"), (DOMAIN, "1"), (OWN, "1")];
    for protocol in BOTH {
        for (names, expected) in [
            (&["ROOTCA", "ALL"][..], &["ALL=1", "ROOTCA=1"][..]),
            (&["ROOTCA", DOMAIN], &["ROOTCA=1", "spiffe://example.org=1"]),
            (&["default", OWN], &["default=1", "spiffe://example.org/a=1"]),
            (&["default", "no such name"], &["default=1"]),
        ] {
            let mut envoy = Envoy::new(SECRETS, protocol, &entries);
            envoy.subscribe(names);
            assert_eq!(envoy.accept(), expected);
            assert_eq!(envoy.accept(), NOTHING);
        }
    }
}

#[test]
fn an_empty_list_later_is_not_answered_with_every_key() {
    for protocol in BOTH {
        let mut envoy = Envoy::new(SECRETS, protocol, &[("default", "1"), (OWN, "1")]);
        envoy.subscribe(&["default"]);
        envoy.accept();
        envoy.unsubscribe(&["default"]);
        assert_eq!(envoy.accept(), NOTHING);
    }
}

#[test]
fn a_version_is_no_count_and_an_update_does_not_send_all_names_again() {
    for protocol in BOTH {
        let mut envoy = Envoy::new(SECRETS, protocol, &[("ROOTCA", "1"), ("default", "1")]);
        envoy.subscribe(&["ROOTCA", "default"]);
        envoy.accept();
        let version = envoy.version[&Kind::Secret].clone();
        assert_eq!(version.len(), 32);
        envoy.update(&[("ROOTCA", "1"), ("default", "2")]);
        assert_eq!(envoy.accept(), ["default=2"]);
        assert_ne!(envoy.version[&Kind::Secret], version);
    }
}

#[test]
fn an_envoy_comes_from_spires_agent_with_its_version() {
    for protocol in BOTH {
        let mut envoy = Envoy::new(SECRETS, protocol, &[]);
        envoy.names.insert(Kind::Secret, ["default".to_owned()].into());
        envoy.version.insert(Kind::Secret, "3".into());
        let mut envoy = envoy.reconnect(&[("default", "1")]);
        assert_eq!(envoy.accept(), ["default=1"]);
    }
}
