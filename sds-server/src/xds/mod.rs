//! The xDS protocols, and the only place that knows protobuf.
//!
//! A [`catalogue`] is published whenever an identity or the policy changes, by one task, and shared
//! by all streams; it makes each resource when its [name](names) is asked for first. A [`session`] is what one stream knows, as a pure value:
//! requests and catalogues in, responses and events out. [`stream`] carries it over gRPC.

mod absence;
mod admission;
mod budget;
mod caller;
mod catalogue;
mod event;
mod extensions;
mod form;
mod frames;
mod grant;
mod listener;
mod names;
#[cfg(test)]
mod panics;
mod peer;
mod processes;
mod publisher;
pub mod registry;
#[cfg(test)]
mod remains;
mod resource;
mod rules;
mod secrets;
mod server;
mod service;
mod session;
mod sieve;
mod status;
mod stock;
mod stream;
mod tls;
mod views;
mod wire;

pub use catalogue::Catalogue;
pub use form::ValidationForm;
pub use listener::{ListenError, Listeners, SocketFile};
pub use processes::{Attended, Processes};
pub use publisher::Publisher;
pub use rules::ResourceRules;
pub use server::serve;
pub use service::Hub;
pub(crate) use tls::Identification;
pub use views::Views;
