//! Who a connection is in Postgres: the facts of its start-up, and the decision about it.

mod decision;
mod parameters;
mod request;

pub use decision::{PostgresDecision, PostgresDenial, PostgresRefusal, Session};
pub use request::{MAX_PARAMETERS, Parameter, StartupRequest};

pub(crate) use parameters::refused_parameter;
