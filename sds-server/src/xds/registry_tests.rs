use std::sync::Arc;
use std::time::Duration;

use super::{Protocol, Registry, TEXT};
use crate::metrics::Metrics;
use crate::xds::absence::Absence;
use crate::xds::event::Event;
use crate::xds::peer::{LocalPeer, Peer};
use crate::xds::resource::{Kind, Version};

fn registry() -> Arc<Registry> {
    Registry::new(Metrics::default())
}

fn peer() -> Peer {
    Peer::Local(LocalPeer { uid: 7, gid: 7, pid: Some(9), pin: None })
}

fn version(text: &str) -> Version {
    Version::of([text.as_bytes()])
}

fn pushed(name: &str, text: &str) -> Event {
    let (kind, policy) = (Kind::Secret, None);
    Event::Pushed { kind, name: name.into(), version: version(text), policy }
}

fn nacked(name: &str, text: &str, reason: &str) -> Event {
    let version = version(text);
    Event::Nacked { kind: Kind::Secret, name: name.into(), version, reason: reason.into() }
}

fn acked(name: &str, text: &str, believed: bool) -> Event {
    let (kind, after) = (Kind::Secret, Duration::ZERO);
    Event::Acked { kind, name: name.into(), version: version(text), after, believed }
}

#[test]
fn an_envoy_is_told_with_all_its_streams_until_they_end() {
    let registry = registry();
    let mut first = registry.open(&peer(), "secret", Protocol::Sotw);
    let mut second = registry.open(&peer(), "secret", Protocol::Sotw);
    let mut other = registry.open(&peer(), "ads", Protocol::AdsDelta);
    first.named("sidecar", "api");
    second.named("sidecar", "api");
    other.named("another", "api");
    first.hear(&pushed("default", "1"));
    second.hear(&pushed("ROOTCA", "2"));

    let envoys = registry.envoys();
    let nodes: Vec<_> = envoys.iter().map(|envoy| &*envoy.node).collect();
    assert_eq!(nodes, ["another", "sidecar"]);
    assert_eq!((envoys[1].streams[0].open, envoys[1].resources.len()), (2, 2));
    assert_eq!(envoys[0].streams[0].protocol, Protocol::AdsDelta);

    drop((first, other));
    let envoys = registry.envoys();
    assert_eq!((envoys.len(), envoys[0].streams[0].open), (1, 1));
    assert_eq!(&*envoys[0].resources[0].name, "ROOTCA");
    drop(second);
    assert!(registry.envoys().is_empty());
    assert!(registry.reserve(), "every place is free again");
    assert_eq!(registry.entries.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[test]
fn an_answer_counts_unless_those_bytes_were_refused() {
    let registry = registry();
    let line = registry.open(&peer(), "secret", Protocol::Sotw);
    let resource = || registry.envoys()[0].resources[0].clone();
    for event in [pushed("default", "good"), acked("default", "good", true)] {
        line.hear(&event);
    }
    line.hear(&pushed("default", "bad"));
    line.hear(&nacked("default", "bad", "no room"));
    let after_refusal = resource();
    let refused = after_refusal.refused.expect("a refusal");
    assert_eq!((&*refused.reason, refused.disbelieved), ("no room", false));
    assert_eq!(refused.refused.version, version("bad").to_string());
    assert_eq!(after_refusal.sent.expect("sent").version, version("bad").to_string());

    line.hear(&acked("default", "bad", false));
    let after_lie = resource();
    assert!(after_lie.refused.expect("still refused").disbelieved);
    assert_eq!(after_lie.acknowledged.expect("the good one").version, version("good").to_string());

    line.hear(&pushed("default", "better"));
    line.hear(&acked("default", "better", true));
    assert!(resource().refused.is_none());
}

#[test]
fn a_name_waits_until_it_is_answered_or_no_longer_wanted() {
    let registry = registry();
    let line = registry.open(&peer(), "secret", Protocol::Delta);
    let kind = Kind::Secret;
    for (name, absence) in [("late", Absence::NoDefault), ("never", Absence::NotPermitted)] {
        line.hear(&Event::Unanswered { kind, name: name.into(), absence });
    }
    let waiting = || -> Vec<_> {
        registry.envoys()[0].waiting.iter().map(|name| name.name.to_string()).collect()
    };
    assert_eq!(waiting(), ["late", "never"]);
    let envoy = registry.envoys().remove(0);
    let reasons: Vec<_> = envoy.waiting.iter().map(|name| &*name.reason).collect();
    assert_eq!(reasons, ["there is no default SVID now", "this peer may not have it"]);
    line.hear(&pushed("late", "1"));
    assert_eq!(waiting(), ["never"]);
    line.hear(&Event::Unsubscribed { kind, name: "never".into() });
    assert!(waiting().is_empty());
}

/// An Envoy that reconnects, to a server that was restarted perhaps, is sent nothing where it has what is served.
#[test]
fn what_an_envoy_came_with_is_told_like_what_it_accepted() {
    let registry = registry();
    let line = registry.open(&peer(), "extension", Protocol::Sotw);
    let (kind, policy) = (Kind::Extension, Some(Arc::from("digest")));
    let (name, version) = (|| "signet.http".to_owned(), version("slice"));
    let holds =
        || Event::Holds { kind, name: name(), version: version.clone(), policy: policy.clone() };
    line.hear(&holds());
    let envoy = registry.envoys().remove(0);
    assert_eq!(envoy.policies["signet.http"], "digest");
    let resource = &envoy.resources[0];
    let accepted = resource.acknowledged.as_ref().map(|stamp| &stamp.version);
    assert_eq!((&resource.sent.is_none(), accepted), (&true, Some(&version.to_string())));

    // What is not served any more it keeps; when it is there again, nobody waits.
    line.hear(&Event::Unanswered { kind, name: name(), absence: Absence::NoDefault });
    let envoy = registry.envoys().remove(0);
    assert_eq!((envoy.waiting.len(), envoy.resources.len()), (1, 1));
    line.hear(&holds());
    assert!(registry.envoys()[0].waiting.is_empty());

    // An answer that is awaited is not given by that.
    line.hear(&pushed("default", "1"));
    line.hear(&Event::Holds {
        kind: Kind::Secret,
        name: "default".into(),
        version: version.clone(),
        policy: None,
    });
    assert!(registry.envoys()[0].resources.iter().any(|resource| resource.acknowledged.is_none()));
    line.hear(&Event::Gone { kind: Kind::Secret, name: "default".into() });
    assert_eq!(
        registry.envoys()[0].resources.len(),
        1,
        "what it was told is gone it does not hold"
    );
}

#[test]
fn what_an_envoy_runs_is_the_policy_that_it_accepted() {
    let registry = registry();
    let line = registry.open(&peer(), "extension", Protocol::Sotw);
    let (kind, after) = (Kind::Extension, Duration::ZERO);
    let name = || "signet.http".to_owned();
    let digest = |text: &str| Arc::<str>::from(text);
    let (slice, policy) = (version("slice"), Some(digest("first")));
    line.hear(&Event::Pushed { kind, name: name(), version: slice, policy });
    assert!(registry.envoys()[0].policies.is_empty(), "sent is not accepted");
    line.hear(&Event::Acked {
        kind,
        name: name(),
        version: version("slice"),
        after,
        believed: true,
    });
    assert_eq!(registry.envoys()[0].policies["signet.http"], "first");
    // An edit that says nothing new to this Envoy is in force there at once.
    registry.note_policy(&version("slice"), &digest("second"));
    assert_eq!(registry.envoys()[0].policies["signet.http"], "second");
}

#[test]
fn a_peer_cannot_make_it_grow() {
    let registry = registry();
    let mut line = registry.open(&peer(), "secret", Protocol::Sotw);
    let long = "x\n".repeat(1 << 16);
    line.named(&long, &long);
    line.hear(&pushed("default", "1"));
    line.hear(&nacked("default", "1", &long));
    for number in 0..=super::ENTRIES {
        let name = number.to_string();
        line.hear(&Event::Unanswered { kind: Kind::Secret, name, absence: Absence::NoDefault });
    }
    let envoy = registry.envoys().remove(0);
    assert_eq!((envoy.node.len(), envoy.cluster.len()), (TEXT, TEXT));
    assert_eq!(envoy.resources[0].refused.as_ref().map(|refused| refused.reason.len()), Some(TEXT));
    assert_eq!((envoy.waiting.len(), envoy.unlisted), (super::ENTRIES - 1, 2));
    assert!(registry.policies.lock().expect("whole").digests.is_empty());
}
