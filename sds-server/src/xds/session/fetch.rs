//! A single request without a stream.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::super::grant::Permitted;
use super::super::resource::{Kind, Resource};
use super::super::status::Refusal;
use super::super::wire::DiscoveryResponse;
use super::message::{Request, Service, Wanted};
use super::version::StateVersion;
use crate::config::Limits;
use crate::sources::Moment;

/// Answers a single request, all its names in one response; names that are unknown are left out.
pub(crate) fn fetch(
    kind: Kind,
    request: &Request,
    limits: &Limits,
    mut permitted: Permitted,
    now: Moment,
) -> Result<Vec<Bytes>, Refusal> {
    Service::Of(kind).kind_of(&request.type_url)?;
    limits.check_request(&request.wanted)?;
    if let Some(node) = &request.node {
        permitted.form = node.form;
    }
    let names = match &request.wanted {
        Wanted::Exactly { names, .. } => names.as_slice(),
        Wanted::Changed { more, .. } => more.as_slice(),
    };
    let all = if names.is_empty() { permitted.all(kind) } else { Vec::new() };
    let names = names.iter().chain(all.iter().map(|resource| &resource.name));
    let mut found: BTreeMap<&str, Arc<Resource>> =
        names.filter_map(|name| Some((name.as_str(), permitted.find(kind, name)?))).collect();
    found.retain(|_, resource| resource.is_valid(now.wall));
    if found.is_empty() {
        return Err(Refusal::NothingToFetch { kind });
    }
    let mut state = StateVersion::default();
    for (name, resource) in &found {
        state.insert(name, &resource.version);
    }
    let response = DiscoveryResponse {
        version_info: state.to_string(),
        type_url: kind.type_url().into(),
        nonce: String::new(),
    };
    Ok(response.around(found.values().map(|resource| resource.encoded.clone())))
}
