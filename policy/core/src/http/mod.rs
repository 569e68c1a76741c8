//! What is asked over HTTP: the facts of a request, and the decision about it.

mod ambiguity;
mod decision;
mod host;
mod path;
mod request;
mod twin;

pub use ambiguity::Ambiguity;
pub use decision::{HttpDecision, HttpDenial};
pub use path::{RequestPath, Target};
pub use request::{Claim, Header, HttpRequest};
pub use twin::is_twin;

pub(crate) use path::PathSegment;
pub(crate) use request::HttpFacts;
