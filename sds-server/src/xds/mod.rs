//! The xDS protocols, and the only place that knows protobuf.
//!
//! A [`catalogue`] of encoded resources is built whenever an identity or the policy changes, by one
//! task, and shared by all streams. A [`session`] is what one stream knows, as a pure value:
//! requests and catalogues in, responses and events out. [`stream`] carries it over gRPC.

mod admission;
mod catalogue;
mod event;
mod extensions;
mod grant;
mod listener;
mod peer;
mod publisher;
mod quarantine;
pub mod registry;
mod resource;
mod secrets;
mod service;
mod session;
mod status;
mod stream;
mod subscription;
mod views;
mod wire;

pub use admission::Gate;
pub use catalogue::Catalogue;
pub(crate) use listener::incoming;
pub use listener::{ListenError, SocketFile};
pub use publisher::Publisher;
pub use service::{Hub, serve};
pub use views::Views;
