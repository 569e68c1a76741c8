//! The mesh policy as a filter holds it: a [`Slice`] of the document, compiled into a [`Policy`],
//! asked once per request or connection for a decision.
//!
//! This crate is pure: no I/O, no clock, no global state, no panic path. It builds natively and for
//! `wasm32-unknown-unknown`, so that the command line and Envoy decide with the same code.
//!
//! The way of a request: bytes from Envoy → facts ([`HttpRequest`], [`StartupRequest`], [`Peer`]) →
//! [`Policy`] → [`HttpDecision`] or [`PostgresDecision`] → one action of the filter.

mod address;
mod caller;
mod http;
mod identity;
mod index;
mod names;
mod pattern;
mod peer;
mod policy;
mod postgres;
mod segments;
mod slice;

pub use caller::{Caller, KnownPeer};
pub use http::{
    Ambiguity, Claim, Header, HttpDecision, HttpDenial, HttpRequest, RequestPath, Target, is_twin,
};
pub use identity::{SpiffeId, SpiffeIdError};
pub use names::{
    ClaimName, DatabaseName, HeaderName, Method, NameError, ParameterName, PayloadName, RoleName,
    RuleName, UpgradeProtocol,
};
pub use pattern::{HostPattern, IdPattern, Part, PathPattern, PatternError};
pub use peer::{NoIdentity, OwnedPeer, Peer};
pub use policy::Policy;
pub use postgres::{
    MAX_PARAMETERS, Parameter, PostgresDecision, PostgresDenial, PostgresRefusal, Session,
    StartupRequest,
};
pub use slice::{
    DEFAULT_EXPIRY_GRACE, DEFAULT_SESSION_GRACE, DenialDetail, Effect, FORMAT, FilterOptions,
    HeaderCondition, HeaderNames, HttpRule, MAX_CLAIMS, Mode, OnSvidExpiry, PostgresRule, Slice,
    SliceError,
};
