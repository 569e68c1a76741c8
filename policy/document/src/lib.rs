//! The mesh policy as people write it: one YAML document, read whole or refused with all its faults.
//!
//! ```
//! use signet_policy::SpiffeId;
//! use signet_policy_document::PolicyDocument;
//!
//! let document = PolicyDocument::parse("policy.yaml", "
//! version: 1
//! trust_domain: example.org
//! workloads: { client: /client, api: /api }
//! http:
//!   - { name: reads, from: [client], to: [api], methods: [GET] }
//! ")?;
//! let slice = document.slice_for(SpiffeId::parse("spiffe://example.org/api")?);
//! assert_eq!(slice.http.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The way of a document: YAML → nodes that know where they stand ([`node`]) → rules in their wire
//! form and whom they are for ([`read`]) → checked against each other and for what can't be meant
//! ([`analysis`], by exact reasoning in [`space`]) → a slice per
//! destination workload.

mod analysis;
mod canonical;
mod case;
mod document;
mod fault;
mod files;
mod node;
mod read;
mod scalar;
mod schema;
mod source;
mod space;

pub use analysis::{Access, Change, Difference, Outcome, TooMany, Warning, Witness};
pub use case::{Ask, Case, Expectation, HttpAsk, PostgresAsk, Verdict};
pub use document::PolicyDocument;
pub use fault::{Fault, Faults, Located};
pub use files::files_of;
pub use read::{Addressed, IdentityError};
pub use schema::SCHEMA;
pub use source::Place;
