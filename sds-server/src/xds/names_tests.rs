use spiffe::{SpiffeId, TrustDomain};

use super::ValidationForm::{Plain, Spiffe};
use super::{ExtensionName, LONGEST, SecretName, WhichBundles, WhichSvid};
use crate::config::Names;
use crate::policy::FilterKind;

fn id(text: &str) -> SpiffeId {
    SpiffeId::new(text).expect("an ID")
}

fn domains(names: &[&str]) -> WhichBundles {
    let domains = names.iter().map(|name| TrustDomain::new(name).expect("a trust domain"));
    WhichBundles::Of(domains.collect())
}

fn jwt(audience: &[&str], id: Option<SpiffeId>) -> SecretName {
    SecretName::Jwt { audience: audience.iter().map(|&a| a.to_owned()).collect(), id }
}

#[test]
fn every_secret_name_means_one_thing() {
    let bundle = |which, form| SecretName::Bundle { which, form };
    for (text, expected) in [
        ("default", SecretName::Svid(WhichSvid::Default)),
        ("ROOTCA", bundle(WhichBundles::Default, None)),
        ("ROOTCA.x509", bundle(WhichBundles::Default, Some(Plain))),
        ("ROOTCA.spiffe", bundle(WhichBundles::Default, Some(Spiffe))),
        ("ALL", bundle(WhichBundles::All, None)),
        ("ALL.spiffe", bundle(WhichBundles::All, Some(Spiffe))),
        ("spiffe://a.org/ns/x", SecretName::Svid(WhichSvid::Id(id("spiffe://a.org/ns/x")))),
        ("spiffe://a.org", bundle(domains(&["a.org"]), None)),
        // The name of a trust domain may end so.
        ("spiffe://a.org.x509", bundle(domains(&["a.org.x509"]), None)),
        ("svid?hint=internal", SecretName::Svid(WhichSvid::Hint("internal".into()))),
        ("svid?hint=a%26b=c", SecretName::Svid(WhichSvid::Hint("a&b=c".into()))),
        ("bundle?td=a.org", bundle(domains(&["a.org"]), None)),
        ("bundle?td=b.org,a.org", bundle(domains(&["a.org", "b.org"]), None)),
        ("bundle.x509?td=a.org", bundle(domains(&["a.org"]), Some(Plain))),
        ("bundle?td=a.org.x509", bundle(domains(&["a.org.x509"]), None)),
        ("jwt?aud=api", jwt(&["api"], None)),
        ("jwt?aud=https://api/v1?x=1", jwt(&["https://api/v1?x=1"], None)),
        ("jwt?aud=b,a%2Cc%25", jwt(&["a,c%", "b"], None)),
        ("jwt?id=spiffe://a.org/x&aud=%C3%A9", jwt(&["é"], Some(id("spiffe://a.org/x")))),
    ] {
        assert_eq!(SecretName::parse(text, &Names::default()), Ok(expected), "{text}");
    }
}

#[test]
fn the_operators_words_come_first() {
    let words = Names {
        default_svid: "tls".into(),
        default_bundle: "ca.x509".into(),
        all_bundles: "bundle".into(),
    };
    for (text, which, form) in [
        ("ca.x509", WhichBundles::Default, None),
        ("ca.x509.spiffe", WhichBundles::Default, Some(Spiffe)),
        ("bundle", WhichBundles::All, None),
        ("bundle.x509", WhichBundles::All, Some(Plain)),
        ("bundle?td=a.org", domains(&["a.org"]), None),
    ] {
        let expected = SecretName::Bundle { which, form };
        assert_eq!(SecretName::parse(text, &words), Ok(expected), "{text}");
    }
    assert!(SecretName::parse("ROOTCA", &words).is_err());
}

#[test]
fn a_fault_names_what_was_found_and_what_is_accepted() {
    for (text, parts) in [
        ("", &["``", "default, ROOTCA, ALL", "jwt?aud="][..]),
        ("defualt", &["`defualt`"]),
        ("default.x509", &["`default.x509`"]),
        ("ROOTCA.pem", &["`ROOTCA.pem`"]),
        ("ROOTCA.x509.x509", &["ROOTCA.x509.x509"]),
        ("svid.x509?hint=a", &["`svid.x509?hint=a`"]),
        ("jwt.spiffe?aud=a", &["jwt.spiffe"]),
        ("svid?hint", &["`hint`", "key=value"]),
        ("svid?id=a", &["`id=a`", "hint"]),
        ("svid?hint=a&hint=b", &["`hint` stands twice"]),
        ("svid?hint=", &["value ``"]),
        ("svid?hint=a%2", &["`a%2`", "%25"]),
        ("svid?hint=a%zz", &["`a%zz`"]),
        ("svid?hint=%FF", &["UTF-8"]),
        ("svid?hint=a%0Ab", &["control"]),
        ("svid?hint=%é", &["%25"]),
        ("bundle?td=a.org,a.org", &["`a.org` stands twice"]),
        ("bundle?td=a.org,", &["value ``"]),
        ("bundle?td=spiffe://a.org", &["`spiffe://a.org` is no trust domain"]),
        ("bundle?td=A.org", &["`A.org`", "lower-case"]),
        ("jwt?id=spiffe://a.org/x", &["jwt?aud="]),
        ("jwt?aud=a&id=spiffe://a.org", &["SPIFFE ID", "no path"]),
        ("spiffe://A.org/x", &["lower-case"]),
        ("spiffe://a.org/", &["SPIFFE ID"]),
        ("SPIFFE://a.org/x", &["names nothing"]),
    ] {
        let fault = SecretName::parse(text, &Names::default()).expect_err(text).to_string();
        for part in parts {
            assert!(fault.contains(part), "{text}: `{part}` is missing in: {fault}");
        }
    }
    let long = format!("svid?hint={}", "a".repeat(LONGEST));
    assert!(SecretName::parse(&long, &Names::default()).is_err());
}

#[test]
fn an_extension_is_a_filter_and_perhaps_another_identity() {
    for (text, filter, of) in [
        ("signet.http", FilterKind::Http, None),
        ("signet.postgres", FilterKind::Postgres, None),
        ("signet.http?id=spiffe://a.org/x", FilterKind::Http, Some(id("spiffe://a.org/x"))),
    ] {
        assert_eq!(ExtensionName::parse(text), Ok(ExtensionName { filter, id: of }), "{text}");
    }
    for text in ["signet", "signet.http?", "signet.http?id=", "signet.http?id=/x", "default"] {
        assert!(ExtensionName::parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_rule_for_a_bundle_names_it_without_a_form() {
    let parse = |text| WhichBundles::parse(text, &Names::default());
    assert_eq!(parse("ROOTCA"), Ok(WhichBundles::Default));
    assert_eq!(parse("bundle?td=b.org,a.org"), parse("bundle?td=a.org,b.org"));
    for text in ["ROOTCA.x509", "default", "spiffe://a.org/x", "nothing"] {
        assert!(parse(text).is_err(), "{text}");
    }
}
