//! JWT-SVIDs: fetched while somebody wants them, renewed at half their life.
//!
//! Streams say what they want by holding a [`Want`] of the [`Demand`]; the [`JwtKeeper`] reads it,
//! asks the [`JwtIssuer`], and is the one writer of the `watch` of [`JwtSvids`].

mod demand;
mod keeper;
mod ledger;
mod workload_api;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use spiffe::{JwtSvid, SpiffeId};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::metrics::Metrics;

pub use demand::{Demand, Want};
pub use keeper::JwtKeeper;
pub use workload_api::WorkloadApiIssuer;

/// Whose JWT-SVID, and for whom.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct JwtRequest {
    /// The subject.
    pub id: SpiffeId,
    /// Who may accept it; never empty.
    pub audience: BTreeSet<String>,
}

impl JwtRequest {
    /// The issuer's answer, if it is what was asked for: nobody gets another's token, nor one for
    /// others than it named.
    pub(super) fn confirm(&self, svid: JwtSvid) -> Result<JwtSvid, String> {
        let audience: BTreeSet<String> = svid.audience().iter().cloned().collect();
        if *svid.spiffe_id() == self.id && audience == self.audience {
            return Ok(svid);
        }
        let issued = Self { id: svid.spiffe_id().clone(), audience };
        Err(format!("the issuer answers with a JWT-SVID of {issued}"))
    }
}

impl fmt::Display for JwtRequest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let audience: Vec<&str> = self.audience.iter().map(String::as_str).collect();
        write!(out, "{} for {}", self.id, audience.join(", "))
    }
}

/// A JWT-SVID as it comes over the wire: whoever has it is its subject.
pub(in crate::sources) type Token = Zeroizing<String>;

/// Whoever issues JWT-SVIDs.
pub trait JwtIssuer: fmt::Debug + Send + Sync + 'static {
    /// Asks for one. The error says who was asked and why there is none.
    fn fetch(&self, request: &JwtRequest) -> impl Future<Output = Result<JwtSvid, String>> + Send;
}

/// The JWT-SVIDs of a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JwtSvids(BTreeMap<Arc<JwtRequest>, Holding>);

/// How it stands with one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Holding {
    svid: Option<Arc<JwtSvid>>,
    /// Why there is nothing newer.
    trouble: Option<String>,
}

impl JwtSvids {
    /// The JWT-SVID of that request, or why there is none; `None` when nobody has looked yet.
    pub fn find(&self, request: &JwtRequest) -> Result<&Arc<JwtSvid>, Option<&str>> {
        let holding = self.0.get(request).ok_or(None)?;
        holding.svid.as_ref().ok_or(holding.trouble.as_deref())
    }
}

/// Where to ask for JWT-SVIDs and where to find them.
#[derive(Debug)]
pub struct JwtSupply {
    /// Where to ask.
    pub demand: Demand,
    /// Where to find them.
    pub svids: watch::Receiver<Arc<JwtSvids>>,
}

impl JwtSupply {
    /// The JWT-SVIDs of an issuer, at most `limit` different ones at a time, and the task that fetches
    /// them.
    pub fn of<I: JwtIssuer>(issuer: I, limit: usize, metrics: Metrics) -> (Self, JwtKeeper<I>) {
        let demand = Demand::new(limit);
        let (keeper, svids) = JwtKeeper::new(issuer, demand.clone(), metrics);
        (Self { demand, svids }, keeper)
    }
}
