//! The story, point by point: each function does something to a running [`Mesh`](crate::Mesh) and
//! returns what it saw. A test asserts that, the demo prints it, and a mutation check asserts that
//! with a wall taken out it is something else.

mod api;
mod database;
mod edit;
mod load;
mod rotation;

pub use api::{Denial, FORGED, Read, forges, is_denied, reads_customers};
pub use database::{Attempt, connects, no_session_of};
pub use edit::{Edit, SHADOW, new_customer, policy_is_edited};
pub use load::{Load, Tally};
pub use rotation::{Rotation, rotates_under_load};
