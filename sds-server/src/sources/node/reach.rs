//! Whether the agent's broker can be reached at all, whatever it says of single processes.

use std::time::SystemTime;

use tokio::sync::watch;

use crate::sources::trouble::{Endpoint, Trouble};
use crate::time::utc;

/// What was found last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reached {
    /// Nobody has asked yet.
    NotYet,
    /// It answers.
    Yes,
    /// It does not, since then, and why it did not the last time.
    No {
        /// When it was first found so.
        since: SystemTime,
        /// With what would help.
        reason: String,
    },
}

impl Reached {
    /// Why no process can be served for the first time; `None` while it can.
    pub fn missing(&self) -> Option<String> {
        match self {
            Self::Yes => None,
            Self::NotYet => Some("the Broker API has not been asked yet".into()),
            Self::No { since, reason } => {
                Some(format!("the Broker API cannot be reached since {}: {reason}", utc(*since)))
            }
        }
    }
}

/// Takes in whatever is found, by whomever.
#[derive(Debug)]
pub(super) struct Reach(watch::Sender<Reached>);

impl Default for Reach {
    fn default() -> Self {
        Self(watch::Sender::new(Reached::NotYet))
    }
}

impl Reach {
    /// Takes in what came of asking at `endpoint`. Trouble with one process says nothing.
    pub(super) fn note<T>(&self, endpoint: &Endpoint, found: &Result<T, Trouble>) {
        match found {
            Ok(_) => {
                self.0.send_if_modified(|known| {
                    std::mem::replace(known, Reached::Yes) != Reached::Yes
                });
            }
            Err(trouble) if trouble.is_of(endpoint) => self.0.send_modify(|known| {
                let since = match known {
                    Reached::No { since, .. } => *since,
                    Reached::NotYet | Reached::Yes => SystemTime::now(),
                };
                *known = Reached::No { since, reason: trouble.to_string() };
            }),
            Err(_) => {}
        }
    }

    pub(super) fn is_reached(&self) -> bool {
        *self.0.borrow() == Reached::Yes
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Reached> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::{Endpoint, Reach, Reached, Trouble};

    #[test]
    fn only_what_concerns_the_agent_counts_and_its_beginning_is_remembered() {
        let [broker, own] = ["Broker API", "Workload API"].map(|api| Endpoint {
            api,
            address: "unix:///b.sock".to_owned().try_into().expect("an address"),
        });
        let (reach, found) = (Reach::default(), |trouble| Err::<(), _>(trouble));
        let told = reach.subscribe();
        let missing = || told.borrow().missing().unwrap_or_default();
        assert!(missing().contains("not been asked"));
        reach.note(&broker, &found(Trouble::NoSocket { endpoint: own }));
        reach.note(&broker, &found(Trouble::ProcessEnded));
        assert!(missing().contains("not been asked"), "{}", missing());
        reach.note(&broker, &found(Trouble::NoSocket { endpoint: broker.clone() }));
        let Reached::No { since, .. } = told.borrow().clone() else { panic!("{}", missing()) };
        reach.note(&broker, &found(Trouble::Silent { endpoint: broker.clone() }));
        assert!(missing().contains("does not answer"), "{}", missing());
        assert!(matches!(&*told.borrow(), Reached::No { since: same, .. } if *same == since));
        reach.note(&broker, &Ok(()));
        assert_eq!(missing(), "");
    }
}
