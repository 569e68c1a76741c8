//! Conversations as tables: what the peer says and what changes, then what the server must send.

mod checklist;
mod envoy;
mod fuzz;
mod names;
mod quarantine;
mod spire;
mod withdrawn;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::message::{Node, Wanted};
use super::{Protocol, Quarantine, Request, Response, Says, Service, Session};
use crate::config::{Config, NamePattern};
use crate::sources::Moment;
use crate::xds::catalogue::Catalogue;
use crate::xds::event::Event;
use crate::xds::grant::Grant;
use crate::xds::peer::{LocalPeer, Peer};
use crate::xds::resource::{Content, Kind, Resource};
use crate::xds::status::Refusal;

const STATE: Protocol = Protocol::StateOfTheWorld;
const DELTA: Protocol = Protocol::Delta;
const BOTH: [Protocol; 2] = [STATE, DELTA];
const SECRETS: Service = Service::Of(Kind::Secret);
const NOTHING: [&str; 0] = [];

/// What there is: names with their contents, `("default", "1")`. An expired one ends with `!`.
type Entries<'a> = &'a [(&'a str, &'a str)];

fn catalogue(entries: Entries<'_>, now: Moment) -> Arc<Catalogue> {
    Arc::new(Catalogue::of(entries.iter().map(|(name, content)| {
        let kind = kind_of(name);
        let holds = match kind {
            Kind::Extension => Content::Filter,
            Kind::Secret if name.contains("/a") || *name == "default" => Content::Certificate,
            Kind::Secret => Content::Bundle,
        };
        let resource = Resource::encode(kind, holds, (*name).into(), &content.replace('!', ""));
        Arc::new(if content.ends_with('!') { resource.until(now.wall) } else { resource })
    })))
}

fn kind_of(name: &str) -> Kind {
    if name.starts_with("signet.") { Kind::Extension } else { Kind::Secret }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// An Envoy that does what the real one does, with one stream at a time.
struct Envoy {
    session: Session,
    quarantine: Quarantine,
    service: Service,
    protocol: Protocol,
    now: Moment,
    /// What it has subscribed to, accepted last as a whole, and holds by name.
    names: BTreeMap<Kind, BTreeSet<String>>,
    version: BTreeMap<Kind, String>,
    last_nonce: BTreeMap<Kind, String>,
    holds: BTreeMap<String, String>,
    events: Vec<Event>,
}

impl Envoy {
    fn new(service: Service, protocol: Protocol, entries: Entries<'_>) -> Self {
        let now = Moment::now();
        Self {
            session: session(service, protocol, entries, now),
            quarantine: Quarantine::default(),
            service,
            protocol,
            now,
            names: BTreeMap::new(),
            version: BTreeMap::new(),
            last_nonce: BTreeMap::new(),
            holds: BTreeMap::new(),
            events: Vec::new(),
        }
    }

    /// The same Envoy on a new stream.
    fn reconnect(mut self, entries: Entries<'_>) -> Self {
        self.session = session(self.service, self.protocol, entries, self.now);
        self.last_nonce.clear();
        let names = std::mem::take(&mut self.names);
        for (kind, names) in names.into_iter().filter(|(_, names)| !names.is_empty()) {
            let version = self.version.get(&kind).cloned().unwrap_or_default();
            let held: HashMap<_, _> =
                self.holds.iter().filter(|(name, _)| names.contains(*name)).collect();
            let held = held.into_iter().map(|(name, version)| (name.clone(), version.clone()));
            let all: Vec<_> = names.iter().cloned().collect();
            let wanted = match self.protocol {
                STATE => Wanted::Exactly { names: all, version },
                DELTA => Wanted::Changed { more: all, fewer: Vec::new(), held: held.collect() },
            };
            self.names.insert(kind, names);
            self.say(kind, "", None, wanted);
        }
        self
    }

    /// One request, as it is.
    fn try_say(&mut self, request: Request) -> Result<Vec<Event>, Refusal> {
        let mut events = self.session.receive(request, &mut self.quarantine, self.now)?;
        // As a stream does.
        if self.quarantine.take_news() && self.session.withholds() {
            events.extend(self.session.reconsider(&self.quarantine, self.now));
        }
        self.events.extend(events.clone());
        Ok(events)
    }

    fn say(
        &mut self,
        kind: Kind,
        nonce: &str,
        refusal: Option<&str>,
        wanted: Wanted,
    ) -> Vec<Event> {
        let node = Node { id: "sidecar".into(), ..Default::default() };
        let request = Request {
            type_url: kind.type_url().into(),
            node: Some(node),
            nonce: nonce.into(),
            refusal: refusal.map(Into::into),
            wanted,
        };
        self.try_say(request).expect("accepted")
    }

    /// An answer; in the state-of-the-world protocol it repeats all names.
    fn answer(&mut self, kind: Kind, nonce: &str, refusal: Option<&str>) -> Vec<Event> {
        let wanted = match self.protocol {
            STATE => Wanted::Exactly {
                names: self.names.get(&kind).into_iter().flatten().cloned().collect(),
                version: self.version.get(&kind).cloned().unwrap_or_default(),
            },
            DELTA => Wanted::Changed { more: Vec::new(), fewer: Vec::new(), held: HashMap::new() },
        };
        self.say(kind, nonce, refusal, wanted)
    }

    fn wants(&self, name: &str) -> bool {
        self.names.get(&kind_of(name)).is_some_and(|names| names.contains(name))
    }

    /// Asks for more names, which may be of several kinds.
    fn subscribe(&mut self, names: &[&str]) {
        for kind in Kind::ALL {
            let more: Vec<&str> =
                names.iter().filter(|name| kind_of(name) == kind).copied().collect();
            if !more.is_empty() {
                self.change(kind, &more, &[]);
            }
        }
    }

    /// No longer wants names.
    fn unsubscribe(&mut self, names: &[&str]) {
        self.change(kind_of(names[0]), &[], names);
    }

    /// Wants all there is.
    fn subscribe_to_all(&mut self) {
        self.names.insert(Kind::Secret, BTreeSet::new());
        self.change(Kind::Secret, &[], &[]);
    }

    fn change(&mut self, kind: Kind, more: &[&str], fewer: &[&str]) {
        let names = self.names.entry(kind).or_default();
        names.retain(|name| !fewer.contains(&name.as_str()));
        names.extend(owned(more));
        self.holds.retain(|name, _| !fewer.contains(&name.as_str()));
        let (nonce, wanted) = match self.protocol {
            STATE => {
                let version = self.version.get(&kind).cloned().unwrap_or_default();
                let names = names.iter().cloned().collect();
                let nonce = self.last_nonce.get(&kind).cloned().unwrap_or_default();
                (nonce, Wanted::Exactly { names, version })
            }
            DELTA => {
                let (more, fewer) = (owned(more), owned(fewer));
                (String::new(), Wanted::Changed { more, fewer, held: HashMap::new() })
            }
        };
        self.say(kind, &nonce, None, wanted);
    }

    fn update(&mut self, entries: Entries<'_>) -> Vec<Event> {
        self.session.update(catalogue(entries, self.now), &self.quarantine, self.now)
    }

    /// From now on it may have these names only.
    fn regrant(&mut self, names: &[&str]) -> Vec<Event> {
        let (config, grant) = (Arc::clone(&CONFIG), Arc::new(listed(names)));
        self.session.reconfigure(config, grant, &self.quarantine, self.now)
    }

    /// Lets time pass.
    fn wait(&mut self, seconds: u64) -> Vec<Event> {
        self.now = self.now.plus(Duration::from_secs(seconds));
        self.session.reconsider(&self.quarantine, self.now)
    }

    /// All that the server sends now, before anything is answered.
    fn pull(&mut self) -> Vec<Response> {
        let mut sent = Vec::new();
        while let Some(response) = self.session.next_response(&self.quarantine, self.now) {
            sent.push(response);
        }
        assert!(!self.session.is_due());
        sent
    }

    /// What the server sends now; the peer accepts it all.
    fn accept(&mut self) -> Vec<String> {
        let sent = self.pull();
        for response in &sent {
            self.version.insert(response.kind, response.version.clone());
            let nonce = response.nonce.to_string();
            match &response.says {
                Says::Have(resource) => {
                    self.holds.insert(resource.name.clone(), resource.version.to_string())
                }
                Says::Gone(name) => self.holds.remove(&**name),
            };
            self.last_nonce.insert(response.kind, nonce.clone());
            self.answer(response.kind, &nonce, None);
        }
        shown(&sent)
    }

    /// What the server sends now; the peer refuses it all.
    fn refuse(&mut self) -> Vec<String> {
        let sent = self.pull();
        for response in &sent {
            let nonce = response.nonce.to_string();
            self.last_nonce.insert(response.kind, nonce.clone());
            let events = self.answer(response.kind, &nonce, Some("no"));
            assert!(
                matches!(&events[0], Event::Nacked { reason, .. } if reason == "no"),
                "{events:?}"
            );
        }
        shown(&sent)
    }
}

fn session(service: Service, protocol: Protocol, entries: Entries<'_>, now: Moment) -> Session {
    granted(service, protocol, entries, now, Grant::Everything)
}

fn granted(
    service: Service,
    protocol: Protocol,
    entries: Entries<'_>,
    now: Moment,
    grant: Grant,
) -> Session {
    let peer = Peer::Local(LocalPeer { uid: 7, gid: 7, pid: None, pin: None });
    let config = Arc::clone(&CONFIG);
    Session::new((service, protocol), &peer, config, Arc::new(grant), catalogue(entries, now))
}

/// Few names, short names, and some for which handshakes wait.
static CONFIG: LazyLock<Arc<Config>> = LazyLock::new(|| {
    let text = "source: { workload_api: { socket: unix:///agent.sock } }
listen: { path: /sds.sock }
on_demand: [spiffe://sni/*]
limits: { names_per_request: 4, message_bytes: 100 }
";
    Arc::new(Config::parse(text).expect("valid"))
});

fn listed(names: &[&str]) -> Grant {
    let pattern = |name: &&str| NamePattern::try_from((*name).to_owned()).expect("a name");
    Grant::Listed(names.iter().map(pattern).collect())
}

/// As `name=content`, or `name gone`.
fn shown(responses: &[Response]) -> Vec<String> {
    let text = |response: &Response| match &response.says {
        Says::Gone(name) => format!("{name} gone"),
        Says::Have(resource) => {
            let encoded = String::from_utf8_lossy(&resource.encoded);
            let content = encoded.rsplit(|c: char| !c.is_ascii_digit()).next();
            format!("{}={}", resource.name, content.unwrap_or_default())
        }
    };
    responses.iter().map(text).collect()
}
