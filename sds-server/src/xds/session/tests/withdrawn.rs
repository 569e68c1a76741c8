//! Identities that are withdrawn and come back: from what the source says to what filters are sent.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::{BOTH, Envoy, NOTHING, Says, Service};
use crate::config::{Config, DefaultSvid};
use crate::policy::PolicyState;
use crate::sources::test_context::Authority;
use crate::sources::{Custody, CustodySettings};
use crate::xds::catalogue::Catalogue;
use crate::xds::resource::Kind;
use crate::xds::stock::Stock;

const SECOND: Duration = Duration::from_secs(1);
const FILTERS: Service = Service::Of(Kind::Extension);
const POLICY: &str = "version: 1
trust_domain: example.org
workloads: { a: /a, b: /b }
http:
  - { name: to-a, from: [b], to: [a] }
  - { name: to-b, from: [a], to: [b] }
postgres:
  - { name: in-a, from: [b], to: [a], databases: [d], login_role: r }
";

/// The source, the policy, and an Envoy that asks.
struct Scene {
    authority: Authority,
    custody: Custody,
    policy: PolicyState,
    envoy: Envoy,
    /// Of what is issued.
    life: Duration,
}

impl Scene {
    fn new(protocol: super::Protocol, policy: Option<&str>, names: &[&str]) -> Self {
        let settings = CustodySettings {
            default_svid: DefaultSvid::default(),
            hold: 10 * SECOND,
            withdrawal_delay: SECOND,
        };
        let code = |name: &str| format!("{name}: {{ wasm: /f.wasm, sha256: {} }}", "ab".repeat(32));
        let config = format!(
            "source: {{ workload_api: {{ socket: unix:///a.sock }} }}\nlisten: {{ path: /s.sock }}\npolicy: {{ file: /p }}\nfilters: {{ {}, {} }}",
            code("http"),
            code("postgres")
        );
        let filters = Config::parse(&config).expect("valid").filters;
        let mut envoy = Envoy::new(FILTERS, protocol, &[]);
        envoy.subscribe(names);
        Self {
            authority: Authority::new("example.org"),
            custody: Custody::new(settings),
            policy: PolicyState::of(policy, filters),
            envoy,
            life: 60 * SECOND,
        }
    }

    /// The source names these identities from now on; what the Envoy has been sent after a while.
    fn issued(&mut self, paths: &[&str]) -> Vec<String> {
        let svids: Vec<_> = paths.iter().map(|path| self.authority.svid(path, self.life)).collect();
        let svids: Vec<_> = svids.iter().collect();
        let offer = Authority::context(&svids, &[&self.authority]);
        self.custody.offer(&offer, self.envoy.now);
        self.custody.review(self.envoy.now);
        self.later(SECOND)
    }

    fn later(&mut self, time: Duration) -> Vec<String> {
        self.envoy.now = self.envoy.now.plus(time);
        self.custody.review(self.envoy.now);
        let catalogue = self.catalogue();
        self.envoy.session.update(catalogue, &self.envoy.quarantine, self.envoy.now);
        self.sent()
    }

    fn catalogue(&self) -> Arc<Catalogue> {
        let (snapshot, policy) = (Arc::new(self.custody.snapshot()), self.policy.clone());
        Arc::new(Catalogue::new(Stock { snapshot, policy, ..Stock::default() }))
    }

    /// What is sent now, as `name workload rules withdrawn`; the Envoy accepts it.
    fn sent(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        while let Some(response) =
            self.envoy.session.next_response(&self.envoy.quarantine, self.envoy.now)
        {
            let Says::Have(resource) = &response.says else { panic!("{response:?}") };
            let slice = slice_in(&resource.encoded);
            let rules = ["http", "postgres"].iter().filter_map(|kind| slice[kind].as_array());
            let rules: Vec<_> =
                rules.flatten().map(|rule| rule["name"].as_str().expect("a name")).collect();
            let path = |id: &Value| id.as_str().expect("an ID").replace("spiffe://example.org", "");
            let withdrawn: Vec<_> =
                slice["withdrawn"].as_array().into_iter().flatten().map(path).collect();
            let (name, workload) = (&resource.name, path(&slice["workload"]));
            told.push(format!("{name} {workload} {rules:?} {withdrawn:?}").replace('"', ""));
            assert_eq!(resource.denies_all(), withdrawn.contains(&workload), "{told:?}");
            let (name, version) = (name.clone(), resource.version.to_string());
            self.envoy.holds.insert(name, version);
            self.envoy.version.insert(response.kind, response.version.clone());
            let nonce = response.nonce.to_string();
            self.envoy.last_nonce.insert(response.kind, nonce.clone());
            self.envoy.answer(response.kind, &nonce, None);
        }
        told
    }

    /// The Envoy opens a new stream.
    fn reconnect(mut self) -> (Self, Vec<String>) {
        self.envoy = self.envoy.reconnect(&[]);
        let sent = self.later(Duration::ZERO);
        (self, sent)
    }
}

/// The slice stands in the resource as it is.
fn slice_in(encoded: &[u8]) -> Value {
    let text = String::from_utf8_lossy(encoded);
    let starts = text.match_indices('{').map(|(start, _)| start);
    let mut read = starts.map(|start| {
        serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>().next()
    });
    read.find_map(|read| read?.ok()).expect("a slice")
}

#[test]
fn who_is_withdrawn_is_denied_until_it_is_issued_again() {
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, Some(POLICY), &["signet.http", "signet.postgres"]);
        let good = ["signet.http /a [to-a] []", "signet.postgres /a [in-a] []"];
        let denied = ["signet.http /a [] [/a]", "signet.postgres /a [] [/a]"];
        assert_eq!(scene.issued(&["/a"]), good);
        assert_eq!(scene.issued(&[]), denied);
        assert_eq!(scene.later(SECOND), NOTHING, "once");
        // It holds on to that, and a fresh one is told the same.
        let (mut scene, again) = scene.reconnect();
        assert_eq!(again, NOTHING);
        assert_eq!(scene.issued(&["/a"]), good);
        assert_eq!(scene.issued(&[]), denied);
        let mut fresh = Envoy::new(FILTERS, protocol, &[]);
        fresh.session.update(scene.catalogue(), &fresh.quarantine, fresh.now);
        fresh.now = scene.envoy.now;
        scene.envoy = fresh;
        scene.envoy.subscribe(&["signet.http"]);
        assert_eq!(scene.sent(), denied[..1]);
        // Once its certificate has expired there is nothing to say, and what was said holds.
        assert_eq!(scene.later(60 * SECOND), NOTHING);
        scene.life = Duration::from_hours(1);
        assert_eq!(scene.issued(&["/a"]), good[..1]);
    }
}

#[test]
fn who_was_away_while_it_was_withdrawn_is_told_when_it_comes_back() {
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, Some(POLICY), &["signet.http"]);
        assert_eq!(scene.issued(&["/a"]), ["signet.http /a [to-a] []"]);
        scene.custody.withdraw();
        scene.envoy.now = scene.envoy.now.plus(SECOND);
        scene.custody.review(scene.envoy.now);
        scene.envoy.now = scene.envoy.now.plus(SECOND);
        scene.custody.review(scene.envoy.now);
        assert_eq!(scene.reconnect().1, ["signet.http /a [] [/a]"]);
    }
}

#[test]
fn a_delay_and_a_lost_source_deny_nobody() {
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, Some(POLICY), &["signet.http"]);
        scene.issued(&["/a"]);
        // An entry that is made anew is away for moments.
        scene.custody.withdraw();
        assert_eq!(scene.later(Duration::ZERO), NOTHING);
        assert_eq!(scene.later(Duration::from_millis(999)), NOTHING);
        assert_eq!(scene.issued(&["/a"]), NOTHING);
        // Who hears nothing keeps what it has until it expires, and beyond that has no say.
        assert_eq!(scene.later(30 * SECOND), NOTHING);
        assert_eq!(scene.later(60 * SECOND), NOTHING);
    }
}

#[test]
fn another_identity_takes_the_place_and_the_withdrawn_one_is_denied_still() {
    for protocol in BOTH {
        let names = ["signet.http", "signet.http?id=spiffe://example.org/a"];
        let pinned = |rest: &str| format!("signet.http?id=spiffe://example.org/a {rest}");
        let mut scene = Scene::new(protocol, Some(POLICY), &names);
        assert_eq!(
            scene.issued(&["/a", "/b"]),
            ["signet.http /a [to-a] []".to_owned(), pinned("/a [to-a] []")]
        );
        assert_eq!(
            scene.issued(&["/b"]),
            ["signet.http /b [to-b] [/a]".to_owned(), pinned("/a [] [/a]")]
        );
        assert_eq!(
            scene.issued(&["/a", "/b"]),
            ["signet.http /b [to-b] []".to_owned(), pinned("/a [to-a] []")]
        );
    }
}

#[test]
fn to_deny_everything_needs_no_policy_and_an_identity_that_was_known() {
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, None, &["signet.http"]);
        assert_eq!(scene.issued(&[]), NOTHING);
        assert_eq!(scene.issued(&["/a"]), NOTHING, "listeners stay warming");
        assert_eq!(scene.issued(&[]), ["signet.http /a [] [/a]"]);
    }
}
