//! What a panic would print of the values that hold keys: a fault anywhere must not put them into a log.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pem_rfc7468::{LineEnding, encode_string};
use spiffe::{JwtSvid, X509Svid};

use super::catalogue::Catalogue;
use super::frames::Message;
use super::resource::Kind;
use super::session::{Response, Says};
use super::stock::Stock;
use crate::sources::test_context::{Authority, token};
use crate::sources::{Identities, Report, Svid, SvidSnapshot};

/// What a fault would say that shows the value, as `expect` does.
fn panicked<T: Debug>(value: T) -> String {
    let fault = AssertUnwindSafe(|| panic!("a provoked panic: {value:?} {value:#?}"));
    let payload = catch_unwind(fault).expect_err("it panics");
    *payload.downcast::<String>().expect("a message")
}

/// How the secret number of a P-256 key in PKCS#8 would look.
fn disguises(key: &[u8]) -> Vec<String> {
    let secret = &key[36..68];
    let decimal = secret[..8].iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    let pem = encode_string("PRIVATE KEY", LineEnding::LF, key).expect("PEM");
    let line = pem.lines().nth(1).expect("a line").to_owned();
    vec![
        decimal,
        hex::encode(&secret[..8]),
        hex::encode_upper(&secret[..8]),
        line,
        secret[..8].escape_ascii().to_string(),
        "PRIVATE KEY".to_owned(),
    ]
}

#[test]
fn a_panic_prints_no_key() {
    let authority = Authority::new("example.org");
    let (chain, key) = authority.pair("/a", Duration::from_mins(1));
    let canaries = disguises(&key);
    // The search would find it.
    let shown = format!("{key:?}");
    assert!(canaries.iter().any(|canary| shown.contains(canary)));

    let document = Arc::new(X509Svid::parse_from_der(&chain, &key).expect("an SVID"));
    let svid = || Svid::check(Arc::clone(&document)).expect("it fits");
    let snapshot = || {
        let svid = Arc::new(svid());
        let default = Some(svid.id().clone());
        let svids = [(svid.id().clone(), svid)].into();
        Arc::new(SvidSnapshot { svids, default, ..SvidSnapshot::default() })
    };
    let catalogue = || Catalogue::new(Stock { snapshot: snapshot(), ..Stock::default() });
    let resource = || catalogue().find(Kind::Secret, "default").expect("made");
    let response = || Response {
        kind: Kind::Secret,
        nonce: 1,
        version: "v".into(),
        says: Says::Have(resource()),
    };
    let encoded = resource().encoded.clone();
    assert!(encoded.windows(11).any(|part| part == b"PRIVATE KEY"), "the key is in it");
    let context = Authority::context(&[&document], &[&authority]);
    for message in [
        panicked(Arc::clone(&document)),
        panicked(svid()),
        panicked(Report::Issued(Arc::new(context))),
        panicked(Identities { snapshot: snapshot(), ..Identities::default() }),
        panicked(snapshot()),
        panicked(resource()),
        panicked(catalogue()),
        panicked(response()),
        panicked(Message::new(vec![encoded])),
    ] {
        assert!(message.starts_with("a provoked panic: "), "{message}");
        for canary in &canaries {
            assert!(!message.contains(canary), "{message}");
        }
    }
}

#[test]
fn a_panic_prints_no_token() {
    let text = token("spiffe://example.org/a", &["api"], SystemTime::now(), Duration::from_mins(1));
    let signature = text.rsplit_once('.').expect("signed").1.to_owned();
    let svid = JwtSvid::parse_insecure(&text).expect("a JWT-SVID");
    let message = panicked(svid);
    assert!(!message.contains(&signature) && !message.contains(&text), "{message}");
}
