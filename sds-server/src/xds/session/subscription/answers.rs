//! What a peer says to a response that it was sent: it accepts it, or refuses it.

use super::super::super::event::Event;
use super::super::Context;
use super::super::entry::Why;
use super::super::message::{Request, Wanted};
use super::super::quarantine::Quarantine;
use super::{Heard, InFlight, Subscription};
use crate::sources::Moment;

impl Subscription {
    pub(super) fn hear_answer(
        &mut self,
        request: &Request,
        context: &Context,
        quarantine: &mut Quarantine,
        now: Moment,
    ) -> Heard {
        if request.nonce.is_empty() {
            return Heard::default();
        }
        let (kind, envoy) = (self.kind, &context.envoy);
        let nonce = request.nonce.parse().unwrap_or(0);
        let Ok(position) = self.in_flight.binary_search_by_key(&nonce, |sent| sent.nonce) else {
            // In the state-of-the-world protocol a request that answers nothing repeats the last
            // nonce: the Envoy's configuration has changed.
            let asks = nonce == self.last_nonce && matches!(request.wanted, Wanted::Exactly { .. });
            if asks && nonce > 0 {
                self.repeat_soon(now.steady);
                return Heard { events: Vec::new(), changed: self.repeats };
            }
            return Heard { events: vec![Event::StaleNonce { kind }], changed: false };
        };
        let Some(InFlight { name, sent_as, sent, why, .. }) = self.in_flight.remove(position)
        else {
            return Heard::default();
        };
        let entry = self.position(&name).ok();
        let Some((content, version)) = sent_as else {
            let refused = request.refusal.clone();
            let event = Event::GoneAnswered { kind, name: name.to_string(), refused };
            return Heard { events: vec![event], changed: false };
        };
        // Only the presence of an error makes a NACK; versions say nothing.
        if let Some(reason) = &request.refusal {
            let when = (sent, now.steady);
            quarantine.record(envoy, kind, &name, (content, &version, reason), when);
            if let Some(entry) = entry.map(|position| &mut self.entries[position]) {
                entry.refused(&version);
            }
            let (name, reason) = (name.to_string(), reason.clone());
            let event = Event::Nacked { kind, name, version, reason };
            return Heard { events: vec![event], changed: true };
        }
        let healed = (why == Why::Healing).then_some(now.steady);
        let believed = quarantine.accept(envoy, kind, &name, &version, healed);
        if let Some(entry) = entry.map(|position| &mut self.entries[position])
            && believed
        {
            let found = context.permitted.find(kind, &name);
            if let Some(resource) = found.filter(|found| found.version == version) {
                entry.accepted = Some(resource);
            }
            if self.repeats && why == Why::News {
                entry.repeat(now.steady);
                self.deadline = self.deadline.into_iter().chain(entry.deadline(now.steady)).min();
            }
        }
        let after = now.steady - sent;
        let event = Event::Acked { kind, name: name.to_string(), version, after, believed };
        Heard { events: vec![event], changed: why == Why::Healing }
    }
}
