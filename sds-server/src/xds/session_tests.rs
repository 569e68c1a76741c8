//! Conversations as tables: what the peer says and what changes, then what the server must send.

use std::sync::Arc;
use std::time::Duration;

use super::{Session, fetch};
use crate::config::NamePattern;
use crate::sources::Moment;
use crate::xds::absence::Absence;
use crate::xds::catalogue::Catalogue;
use crate::xds::event::Event;
use crate::xds::grant::{Grant, Permitted};
use crate::xds::peer::{self, LocalPeer};
use crate::xds::quarantine::Quarantine;
use crate::xds::resource::{Content, Kind, Resource};
use crate::xds::status::Refusal;
use crate::xds::wire::{DiscoveryRequest, ErrorDetail, Node};

/// A catalogue of secrets in which each name has the given content.
fn catalogue(entries: &[(&str, &str)]) -> Arc<Catalogue> {
    Arc::new(Catalogue::of(entries.iter().map(|(name, content)| {
        let is_bundle = *name == "ROOTCA";
        let kind = if is_bundle { Content::Bundle } else { Content::Certificate };
        Arc::new(Resource::encode(Kind::Secret, kind, (*name).into(), &(*content).to_owned()))
    })))
}

fn session(catalogue: Arc<Catalogue>) -> Session {
    let peer = peer::Peer::Local(LocalPeer { uid: 7, gid: 7, pid: None, pin: None });
    Session::new(Kind::Secret, &peer, 4, Arc::new(Grant::Everything), catalogue)
}

fn everything(catalogue: &Arc<Catalogue>) -> Permitted {
    Permitted { catalogue: Arc::clone(catalogue), grant: Arc::new(Grant::Everything) }
}

struct Peer {
    session: Session,
    quarantine: Quarantine,
    now: Moment,
    version: String,
    names: Vec<String>,
}

impl Peer {
    fn new(entries: &[(&str, &str)]) -> Self {
        let session = session(catalogue(entries));
        Self {
            session,
            quarantine: Quarantine::default(),
            now: Moment::now(),
            version: String::new(),
            names: Vec::new(),
        }
    }

    /// The same Envoy on a new stream.
    fn reconnect(self, entries: &[(&str, &str)]) -> Self {
        Self { session: session(catalogue(entries)), ..self }
    }

    fn request(&mut self, nonce: &str, error: Option<&str>) -> Vec<Event> {
        let request = DiscoveryRequest {
            version_info: self.version.clone(),
            node: Some(Node { id: "sidecar".into(), cluster: "c".into() }),
            resource_names: self.names.clone(),
            type_url: Kind::Secret.type_url().into(),
            response_nonce: nonce.into(),
            error_detail: error.map(|message| ErrorDetail { code: 13, message: message.into() }),
        };
        self.session.receive(&request, &mut self.quarantine, self.now).expect("accepted")
    }

    fn subscribe(&mut self, names: &[&str]) {
        self.names = names.iter().map(|name| (*name).to_owned()).collect();
        self.request("", None);
    }

    fn update(&mut self, entries: &[(&str, &str)]) -> Vec<Event> {
        self.session.update(catalogue(entries), &self.quarantine, self.now)
    }

    /// All that the server sends now, as `name=content`, with the nonces and the last version.
    fn pull(&mut self) -> (Vec<String>, Vec<(String, String)>) {
        let mut sent = (Vec::new(), Vec::new());
        while let Some((response, resource)) = self.session.next_response(self.now) {
            assert_eq!(response.resources.len(), 1, "one resource per response");
            let text = String::from_utf8_lossy(&resource.encoded).into_owned();
            let content: String = text.chars().rev().take_while(char::is_ascii_digit).collect();
            sent.0.push(format!("{}={content}", resource.name));
            sent.1.push((response.nonce, response.version_info));
        }
        assert!(!self.session.is_due(self.now));
        sent
    }

    /// What the server sends now; the peer accepts it all.
    fn accept(&mut self) -> Vec<String> {
        let (sent, answers) = self.pull();
        for (nonce, version) in answers {
            self.version = version;
            self.request(&nonce, None);
        }
        sent
    }

    /// What the server sends now; the peer refuses it all.
    fn refuse(&mut self) -> Vec<String> {
        let (sent, answers) = self.pull();
        for (nonce, _) in answers {
            let events = self.request(&nonce, Some("no"));
            assert!(
                matches!(&events[..], [Event::Nacked { reason, .. }] if reason == "no"),
                "{events:?}"
            );
        }
        sent
    }
}

#[test]
fn only_what_was_asked_is_sent_trust_first_and_once() {
    let mut peer = Peer::new(&[("ROOTCA", "1"), ("default", "1"), ("other", "1")]);
    peer.subscribe(&["default", "ROOTCA"]);
    assert_eq!(peer.accept(), ["ROOTCA=1", "default=1"]);
    assert_eq!(peer.accept(), [""; 0]);
}

#[test]
fn only_what_changed_is_sent() {
    let mut peer = Peer::new(&[("ROOTCA", "1"), ("default", "1")]);
    peer.subscribe(&["default", "ROOTCA"]);
    peer.accept();
    peer.update(&[("ROOTCA", "1"), ("default", "2")]);
    assert_eq!(peer.accept(), ["default=2"]);
    peer.update(&[("ROOTCA", "1"), ("default", "2"), ("other", "1")]);
    assert_eq!(peer.accept(), [""; 0]);
}

#[test]
fn a_slow_peer_gets_the_latest_state_only() {
    let mut peer = Peer::new(&[("default", "1")]);
    peer.subscribe(&["default"]);
    peer.update(&[("default", "2")]);
    peer.update(&[("default", "3")]);
    assert_eq!(peer.accept(), ["default=3"]);
}

#[test]
fn an_unknown_name_is_silent_until_it_appears_and_withholds_nothing() {
    let later = "spiffe://example.org/later";
    let mut peer = Peer::new(&[("default", "1")]);
    peer.subscribe(&[later, "default"]);
    assert_eq!(peer.accept(), ["default=1"]);
    assert_eq!(peer.session.overdue(peer.now.plus(Duration::from_secs(9))), []);
    let late = peer.now.plus(Duration::from_secs(10));
    assert_eq!(peer.session.next_deadline(), Some(late.steady));
    assert_eq!(
        peer.session.overdue(late),
        [Event::Unanswered {
            kind: Kind::Secret,
            name: later.into(),
            absence: Absence::NotIssued(later.parse().expect("an ID")),
        }]
    );
    assert_eq!(peer.session.overdue(late), [], "told once");
    peer.update(&[("default", "1"), (later, "1")]);
    assert_eq!(peer.accept(), [format!("{later}=1")]);
    assert_eq!(peer.session.next_deadline(), None);
}

#[test]
fn a_name_that_nothing_can_ever_answer_is_told_at_once() {
    let mut peer = Peer::new(&[("default", "1")]);
    peer.subscribe(&["defualt", "default"]);
    assert_eq!(peer.accept(), ["default=1"]);
    let told = peer.session.overdue(peer.now);
    assert!(matches!(&told[..], [Event::Unanswered { absence: Absence::Name(_), .. }]), "{told:?}");
    assert_eq!(peer.session.overdue(peer.now), [], "told once");
}

#[test]
fn a_resource_that_vanishes_is_not_withdrawn_and_returns_when_it_differs() {
    let mut peer = Peer::new(&[("default", "1")]);
    peer.subscribe(&["default"]);
    peer.accept();
    peer.update(&[]);
    assert_eq!(peer.accept(), [""; 0]);
    peer.update(&[("default", "1")]);
    assert_eq!(peer.accept(), [""; 0], "the peer holds it still");
    peer.update(&[("default", "2")]);
    assert_eq!(peer.accept(), ["default=2"]);
}

#[test]
fn names_change_on_a_live_stream() {
    let mut peer = Peer::new(&[("ROOTCA", "1"), ("default", "1")]);
    peer.subscribe(&["ROOTCA"]);
    assert_eq!(peer.accept(), ["ROOTCA=1"]);
    peer.subscribe(&["ROOTCA", "default"]);
    assert_eq!(peer.accept(), ["default=1"]);
    peer.subscribe(&["ROOTCA"]);
    peer.update(&[("ROOTCA", "1"), ("default", "2")]);
    assert_eq!(peer.accept(), [""; 0]);
    peer.subscribe(&["ROOTCA", "default"]);
    assert_eq!(peer.accept(), ["default=2"]);
}

#[test]
fn an_empty_list_means_all_at_first_and_nothing_later() {
    let entries = [
        ("ROOTCA", "1"),
        ("default", "1"),
        ("spiffe://example.org", "1"),
        ("spiffe://example.org/a", "1"),
    ];
    let mut peer = Peer::new(&entries);
    peer.subscribe(&[]);
    assert_eq!(
        peer.accept(),
        ["spiffe://example.org=1", "spiffe://example.org/a=1"],
        "each thing once"
    );

    let mut peer = Peer::new(&entries);
    peer.subscribe(&["default"]);
    peer.accept();
    peer.subscribe(&[]);
    peer.update(&[("ROOTCA", "2"), ("default", "2")]);
    assert_eq!(peer.accept(), [""; 0]);
}

#[test]
fn a_stale_nonce_is_no_answer_but_its_names_count() {
    let mut peer = Peer::new(&[("ROOTCA", "1"), ("default", "1")]);
    peer.subscribe(&["ROOTCA"]);
    peer.accept();
    peer.names = vec!["ROOTCA".into(), "default".into()];
    assert_eq!(peer.request("99", Some("about what?")), [Event::StaleNonce { kind: Kind::Secret }]);
    assert_eq!(peer.accept(), ["default=1"]);
}

#[test]
fn refused_bytes_are_not_sent_again_on_the_stream() {
    let mut peer = Peer::new(&[("default", "1")]);
    peer.subscribe(&["default"]);
    peer.accept();
    peer.update(&[("default", "2")]);
    assert_eq!(peer.refuse(), ["default=2"]);
    peer.update(&[("default", "2"), ("other", "1")]);
    assert_eq!(peer.accept(), [""; 0]);
    peer.update(&[("default", "3")]);
    assert_eq!(peer.accept(), ["default=3"]);
    peer.update(&[("default", "2")]);
    assert_eq!(
        peer.accept(),
        ["default=2"],
        "after other bytes were accepted the same may be tried again"
    );
}

#[test]
fn refused_bytes_are_withheld_across_reconnects() {
    let mut peer = Peer::new(&[("default", "1")]);
    peer.subscribe(&["default"]);
    peer.accept();
    peer.update(&[("default", "2")]);
    peer.refuse();
    let mut peer = peer.reconnect(&[("default", "2")]);
    peer.subscribe(&["default"]);
    assert_eq!(peer.accept(), [""; 0]);
    peer.update(&[("default", "3")]);
    assert_eq!(peer.accept(), ["default=3"]);
}

#[test]
fn an_envoy_that_holds_nothing_is_sent_even_what_it_refused_but_its_answer_is_not_believed() {
    let mut peer = Peer::new(&[("default", "1")]);
    peer.subscribe(&["default"]);
    peer.refuse();
    let mut peer = peer.reconnect(&[("default", "1")]);
    peer.subscribe(&["default"]);
    let (sent, answers) = peer.pull();
    assert_eq!(sent, ["default=1"]);
    let events = peer.request(&answers[0].0, None);
    assert!(matches!(&events[..], [Event::Acked { believed: false, .. }]), "{events:?}");
}

#[test]
fn a_reconnect_with_the_current_version_is_sent_nothing() {
    let entries = [("ROOTCA", "1"), ("default", "1")];
    let mut peer = Peer::new(&entries);
    peer.subscribe(&["default", "ROOTCA"]);
    peer.accept();
    let mut peer = peer.reconnect(&entries);
    peer.subscribe(&["default", "ROOTCA"]);
    assert_eq!(peer.accept(), [""; 0]);
    peer.update(&[("ROOTCA", "1"), ("default", "2")]);
    assert_eq!(peer.accept(), ["default=2"]);
}

#[test]
fn a_reconnect_before_anything_is_known_keeps_its_claim() {
    let entries = [("ROOTCA", "1"), ("default", "1")];
    let mut peer = Peer::new(&entries);
    peer.subscribe(&["default", "ROOTCA"]);
    peer.accept();
    let mut peer = peer.reconnect(&[]);
    peer.subscribe(&["default", "ROOTCA"]);
    peer.update(&entries);
    assert_eq!(peer.accept(), [""; 0]);
}

#[test]
fn a_reconnect_with_another_version_is_sent_everything() {
    let mut peer = Peer::new(&[("ROOTCA", "1"), ("default", "1")]);
    peer.subscribe(&["default", "ROOTCA"]);
    peer.accept();
    let mut peer = peer.reconnect(&[("ROOTCA", "1"), ("default", "2")]);
    peer.subscribe(&["default", "ROOTCA"]);
    assert_eq!(peer.accept(), ["ROOTCA=1", "default=2"]);
}

#[test]
fn a_wrong_type_and_too_many_names_are_refused() {
    let mut quarantine = Quarantine::default();
    let mut session = session(catalogue(&[]));
    let wrong =
        DiscoveryRequest { type_url: Kind::Extension.type_url().into(), ..Default::default() };
    assert!(matches!(
        session.receive(&wrong, &mut quarantine, Moment::now()),
        Err(Refusal::TypeUrl { .. })
    ));
    let many = DiscoveryRequest { resource_names: vec!["x".into(); 5], ..Default::default() };
    assert!(matches!(
        session.receive(&many, &mut quarantine, Moment::now()),
        Err(Refusal::TooManyNames { found: 5, accepted: 4 })
    ));
}

#[test]
fn what_is_not_permitted_looks_like_what_is_not_there() {
    let catalogue = catalogue(&[("ROOTCA", "1"), ("default", "1"), ("spiffe://a/b", "1")]);
    let name = |name: &str| NamePattern::try_from(name.to_owned()).expect("a name");
    let grant = Arc::new(Grant::Listed(vec![name("ROOTCA"), name("default")]));
    let ask = |names: &[&str]| DiscoveryRequest {
        resource_names: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Default::default()
    };
    let peer = peer::Peer::Remote("spiffe://a/envoy".parse().expect("an ID"));
    let sent = |names: &[&str]| {
        let mut session =
            Session::new(Kind::Secret, &peer, 4, Arc::clone(&grant), Arc::clone(&catalogue));
        let now = Moment::now();
        session.receive(&ask(names), &mut Quarantine::default(), now).expect("accepted");
        let responses = std::iter::from_fn(|| session.next_response(now));
        let sent: Vec<_> = responses.map(|(_, resource)| resource.name.clone()).collect();
        (sent, session.overdue(now.plus(Duration::from_secs(10))))
    };
    let (of_forbidden, forbidden) = sent(&["spiffe://a/b", "ROOTCA"]);
    let (of_unknown, unknown) = sent(&["nonsense", "ROOTCA"]);
    assert_eq!((of_forbidden, of_unknown), (vec!["ROOTCA".to_owned()], vec!["ROOTCA".to_owned()]));
    for (events, name) in [(forbidden, "spiffe://a/b"), (unknown, "nonsense")] {
        let expected = Event::Unanswered {
            kind: Kind::Secret,
            name: name.into(),
            absence: Absence::NotPermitted,
        };
        assert_eq!(events, [expected]);
    }
    assert_eq!(sent(&[]).0, ["ROOTCA", "default"], "all means all that is granted");

    let permitted = Permitted { catalogue: Arc::clone(&catalogue), grant: Arc::clone(&grant) };
    let fetched =
        |names: &[&str]| fetch(Kind::Secret, &ask(names), 4, &permitted, Moment::now()).err();
    assert_eq!(fetched(&["spiffe://a/b"]), fetched(&["nonsense"]));
    assert_eq!(fetched(&["default"]), None);
}

#[test]
fn a_grant_that_shrinks_or_grows_counts_from_then_on() {
    let name = |name: &str| NamePattern::try_from(name.to_owned()).expect("a name");
    let listed = |names: &[&str]| Arc::new(Grant::Listed(names.iter().map(|n| name(n)).collect()));
    let mut peer = Peer::new(&[("ROOTCA", "1"), ("default", "1")]);
    peer.subscribe(&["ROOTCA", "default"]);
    assert_eq!(peer.accept(), ["ROOTCA=1", "default=1"]);
    assert_eq!(peer.session.regrant(listed(&["ROOTCA"]), &peer.quarantine, peer.now), []);
    peer.update(&[("ROOTCA", "2"), ("default", "2")]);
    assert_eq!(peer.accept(), ["ROOTCA=2"]);
    peer.session.regrant(listed(&["default"]), &peer.quarantine, peer.now);
    peer.update(&[("ROOTCA", "3"), ("default", "2")]);
    assert_eq!(peer.accept(), ["default=2"]);
}

#[test]
fn a_fetch_returns_what_is_known() {
    let catalogue = catalogue(&[("ROOTCA", "1"), ("default", "1")]);
    let ask = |names: &[&str]| DiscoveryRequest {
        resource_names: names.iter().map(|n| (*n).to_owned()).collect(),
        ..Default::default()
    };
    let both = fetch(
        Kind::Secret,
        &ask(&["ROOTCA", "default", "unknown"]),
        4,
        &everything(&catalogue),
        Moment::now(),
    )
    .expect("found");
    assert_eq!(both.resources.len(), 2);
    assert!(matches!(
        fetch(Kind::Secret, &ask(&["unknown"]), 4, &everything(&catalogue), Moment::now()),
        Err(Refusal::NothingToFetch { .. })
    ));
}

#[test]
fn what_has_expired_is_not_sent_though_the_catalogue_holds_it_still() {
    let now = Moment::now();
    let expires = now.wall + Duration::from_secs(5);
    let leaf =
        Resource::encode(Kind::Secret, Content::Certificate, "default".into(), &"1".to_owned())
            .until(expires);
    let catalogue = Arc::new(Catalogue::of([Arc::new(leaf)]));
    let request = DiscoveryRequest { resource_names: vec!["default".into()], ..Default::default() };
    let mut session = session(Arc::clone(&catalogue));
    session.receive(&request, &mut Quarantine::default(), now).expect("accepted");
    assert!(
        session.is_due(now)
            && fetch(Kind::Secret, &request, 4, &everything(&catalogue), now).is_ok()
    );
    let late = now.plus(Duration::from_secs(5));
    assert!(!session.is_due(late) && session.next_response(late).is_none());
    assert!(fetch(Kind::Secret, &request, 4, &everything(&catalogue), late).is_err());
}
