//! Random conversations: some hundreds, always the same. `SIGNET_FUZZ_INPUTS` takes as many others, of another seed.

use std::collections::{BTreeSet, HashMap};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, RngSeed};

use super::{DELTA, Envoy, Event, Kind, STATE, Service, Wanted, kind_of};
use crate::xds::session::{Protocol, Request, Response, Says};

/// As many names as may be asked for.
const NAMES: [&str; 4] = ["ROOTCA", "default", "spiffe://sni/a", "signet.http"];

fn runs() -> Runs {
    let wanted = std::env::var("SIGNET_FUZZ_INPUTS").ok();
    let wanted = wanted.map(|cases| cases.parse().expect("a number of cases"));
    let rng_seed = if wanted.is_some() { RngSeed::Random } else { RngSeed::Fixed(47_309) };
    let cases = wanted.unwrap_or(500);
    Runs { cases, rng_seed, failure_persistence: None, ..Runs::default() }
}

/// What may happen.
#[derive(Debug, Clone)]
enum Act {
    Subscribe(usize),
    Unsubscribe(usize),
    /// What there is from now on: of each name a content, `None` for nothing, and whether it has
    /// expired.
    Update([Option<(u8, bool)>; 4]),
    Regrant([bool; 4]),
    Wait(u16),
    Accept,
    Refuse,
    /// Takes in responses and answers them later.
    Pull,
    Reconnect,
    Say(Box<Request>),
}

fn act() -> impl Strategy<Value = Act> {
    let name = 0..NAMES.len();
    let content = proptest::option::weighted(0.8, (0..3_u8, prop::bool::weighted(0.1)));
    prop_oneof![
        4 => name.clone().prop_map(Act::Subscribe),
        1 => name.prop_map(Act::Unsubscribe),
        4 => prop::array::uniform4(content).prop_map(Act::Update),
        1 => prop::array::uniform4(prop::bool::weighted(0.8)).prop_map(Act::Regrant),
        1 => (0..400_u16).prop_map(Act::Wait),
        4 => Just(Act::Accept),
        2 => Just(Act::Refuse),
        1 => Just(Act::Pull),
        1 => Just(Act::Reconnect),
    ]
}

/// Requests that no Envoy would make too.
fn nonsense() -> impl Strategy<Value = Act> {
    let names = || {
        vec(prop::sample::select(&["ROOTCA", "default", "*", "signet.http"]), 0..4)
            .prop_map(|names| super::owned(&names))
    };
    let text = prop::sample::select(&["", "0", "1", "2", "3", "7", "x"]).prop_map(str::to_owned);
    let held = prop::collection::hash_map(text.clone(), text.clone(), 0..3);
    let wanted = prop_oneof![
        (names(), text.clone()).prop_map(|(names, version)| Wanted::Exactly { names, version }),
        (names(), names(), held).prop_map(|(more, fewer, held)| Wanted::Changed {
            more,
            fewer,
            held
        }),
    ];
    let kind = prop::sample::select(&Kind::ALL);
    (kind, text, proptest::option::of(Just("no".to_owned())), wanted).prop_map(
        |(kind, nonce, refusal, wanted)| {
            let type_url = kind.type_url().into();
            Act::Say(Box::new(Request { type_url, node: None, nonce, refusal, wanted }))
        },
    )
}

/// An Envoy, and what is known of the world around it.
struct World {
    envoy: Envoy,
    entries: Vec<(&'static str, String)>,
    granted: Vec<&'static str>,
    /// The names that were answered since they were subscribed to on this stream.
    answered: BTreeSet<String>,
    /// What is not answered yet.
    open: Vec<Response>,
}

impl World {
    fn new(protocol: Protocol) -> Self {
        let envoy = Envoy::new(Service::Aggregated, protocol, &[]);
        let (entries, answered) = (Vec::new(), BTreeSet::new());
        Self { envoy, entries, granted: NAMES.to_vec(), answered, open: Vec::new() }
    }

    fn entries(&self) -> Vec<(&str, &str)> {
        self.entries.iter().map(|(name, content)| (*name, content.as_str())).collect()
    }

    fn perform(mut self, act: Act) -> Self {
        match act {
            Act::Subscribe(name) => self.envoy.subscribe(&[NAMES[name]]),
            // Without a name, the first list would mean all there is.
            Act::Unsubscribe(name) if self.envoy.wants(NAMES[name]) => {
                self.answered.remove(NAMES[name]);
                self.envoy.unsubscribe(&[NAMES[name]]);
            }
            Act::Unsubscribe(_) => {}
            Act::Update(contents) => {
                let present = NAMES.iter().zip(contents).filter_map(|(name, content)| {
                    let (content, expired) = content?;
                    Some((*name, format!("{content}{}", if expired { "!" } else { "" })))
                });
                self.entries = present.collect();
                let entries = self.entries.clone();
                let entries: Vec<_> = entries.iter().map(|(n, c)| (*n, c.as_str())).collect();
                self.envoy.update(&entries);
            }
            Act::Regrant(granted) => {
                let granted = NAMES.iter().zip(granted).filter(|(_, granted)| *granted);
                self.granted = granted.map(|(name, _)| *name).collect();
                self.envoy.regrant(&self.granted);
            }
            Act::Wait(seconds) => drop(self.envoy.wait(seconds.into())),
            Act::Accept => self.exchange(None),
            Act::Refuse => self.exchange(Some("no")),
            Act::Pull => {
                let sent = self.pull();
                self.open.extend(sent);
            }
            Act::Reconnect => self = self.reconnect(),
            Act::Say(mut request) => {
                // Each protocol has its own requests.
                if matches!(request.wanted, Wanted::Exactly { .. })
                    != (self.envoy.protocol == STATE)
                {
                    request.wanted = match self.envoy.protocol {
                        STATE => Wanted::default(),
                        DELTA => Wanted::Changed {
                            more: Vec::new(),
                            fewer: vec!["*".into()],
                            held: HashMap::new(),
                        },
                    };
                }
                if self.envoy.try_say(*request).is_err() {
                    self = self.reconnect();
                }
            }
        }
        self
    }

    fn reconnect(mut self) -> Self {
        let entries = self.entries.clone();
        let entries: Vec<_> = entries.iter().map(|(n, c)| (*n, c.as_str())).collect();
        self.answered.clear();
        self.open.clear();
        let envoy = self.envoy.reconnect(&entries);
        self.envoy = envoy;
        self.envoy.regrant(&self.granted);
        self
    }

    /// Takes in what is due, and checks each response.
    fn pull(&mut self) -> Vec<Response> {
        let mut sent = Vec::new();
        loop {
            let Envoy { session, quarantine, now, .. } = &mut self.envoy;
            let Some(response) = session.next_response(quarantine, *now) else { break };
            self.check(&response);
            sent.push(response);
            assert!(sent.len() <= 2 * NAMES.len(), "it never ends");
        }
        assert!(!self.envoy.session.is_due());
        sent
    }

    fn check(&mut self, response: &Response) {
        let Envoy { session, quarantine, now, .. } = &self.envoy;
        let resource = match &response.says {
            Says::Have(resource) => resource,
            Says::Gone(name) => {
                assert!(self.envoy.protocol == DELTA && name.starts_with("spiffe://sni/"));
                self.answered.insert(name.to_string());
                return;
            }
        };
        assert!(self.granted.contains(&resource.name.as_str()), "not permitted: {resource:?}");
        assert!(resource.is_valid(now.wall), "expired: {resource:?}");
        assert_eq!(resource.kind, kind_of(&resource.name));
        let envoy = &session.context.envoy;
        if quarantine.holds(envoy, resource.kind, &resource.name, &resource.version) {
            assert!(!self.answered.contains(&resource.name), "refused: {resource:?}");
            // Its ACK of bytes that it refused before is not believed: so it may get once more what it has.
            let holds = self.envoy.holds.get(&resource.name);
            let same = holds.is_none_or(|version| *version == resource.version.to_string());
            assert!(same, "it has another: {holds:?}, {resource:?}");
        }
        self.answered.insert(resource.name.clone());
    }

    fn exchange(&mut self, refusal: Option<&str>) {
        let mut open = std::mem::take(&mut self.open);
        open.extend(self.pull());
        for response in open {
            let (kind, nonce) = (response.kind, response.nonce.to_string());
            self.envoy.last_nonce.insert(kind, nonce.clone());
            if refusal.is_none() {
                self.envoy.version.insert(kind, response.version.clone());
                match &response.says {
                    // It may not want it any more.
                    Says::Have(resource) if self.envoy.wants(&resource.name) => {
                        let version = resource.version.to_string();
                        self.envoy.holds.insert(resource.name.clone(), version);
                    }
                    Says::Have(_) => {}
                    Says::Gone(name) => drop(self.envoy.holds.remove(&**name)),
                }
            }
            self.envoy.answer(kind, &nonce, refusal);
        }
    }

    /// Whether the peer has all that it wants and may have, but for what it refused.
    fn has_converged(&self) -> Result<(), String> {
        let Envoy { session, quarantine, now, .. } = &self.envoy;
        let permitted = &session.context.permitted;
        for (kind, names) in &self.envoy.names {
            for name in names {
                let Some(resource) = permitted.find(*kind, name) else { continue };
                let version = &resource.version;
                let refused = quarantine.holds(&session.context.envoy, *kind, name, version);
                let has = self.envoy.holds.get(name) == Some(&version.to_string());
                if resource.is_valid(now.wall) && !refused && !has {
                    return Err(format!("{resource:?}, it has {:?}", self.envoy.holds.get(name)));
                }
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(runs())]

    #[test]
    fn a_truthful_envoy_gets_what_it_may_have_and_nothing_else(
        delta in any::<bool>(),
        acts in vec(act(), 1..60),
    ) {
        let mut world = World::new(if delta { DELTA } else { STATE });
        for act in acts {
            world = world.perform(act);
        }
        // From now on it accepts everything: soon there is nothing left to say.
        for _ in 0..6 {
            world.exchange(None);
            world.envoy.wait(400);
        }
        prop_assert!(world.pull().is_empty(), "it never ends");
        prop_assert_eq!(world.has_converged(), Ok(()), "{:?}", world.entries());
    }

    #[test]
    fn nonsense_harms_nobody(
        delta in any::<bool>(),
        acts in vec(prop_oneof![1 => act(), 1 => nonsense()], 1..60),
    ) {
        let mut world = World::new(if delta { DELTA } else { STATE });
        for act in acts {
            world = world.perform(match act {
                // What the peer has by its own account is then no longer known here.
                Act::Reconnect => Act::Pull,
                other => other,
            });
            world.answered.clear();
            world.envoy.holds.clear();
        }
    }

    #[test]
    fn endless_refusals_cost_at_most_one_send_for_each_change(
        delta in any::<bool>(),
        updates in vec((prop::array::uniform4(proptest::option::of(0..3_u8)), 0..400_u16), 1..40),
    ) {
        let mut envoy =
            Envoy::new(Service::Aggregated, if delta { DELTA } else { STATE }, &[]);
        envoy.subscribe(&["ROOTCA", "default"]);
        let (mut before, mut changes, mut sent) = ([None; 4], 0, 0);
        for (contents, seconds) in updates {
            let contents = [contents[0], contents[1], None, None];
            changes += contents.iter().zip(&before).filter(|(now, old)| now != old && now.is_some()).count();
            before = contents;
            let entries: Vec<_> = NAMES.iter().zip(contents).filter_map(|(name, content)| Some((*name, content?.to_string()))).collect();
            let entries: Vec<_> = entries.iter().map(|(n, c)| (*n, c.as_str())).collect();
            envoy.update(&entries);
            for _ in 0..3 {
                sent += envoy.refuse().len();
                envoy.wait(seconds.into());
            }
        }
        prop_assert!(sent <= changes, "{sent} sends, {changes} changes");
        let refused =
            envoy.events.iter().filter(|event| matches!(event, Event::Nacked { .. })).count();
        prop_assert_eq!(refused, sent, "each is counted");
    }
}
