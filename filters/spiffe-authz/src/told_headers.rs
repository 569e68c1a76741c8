//! What the API is told, and what a client may not tell it.

use host_calls::{HeaderMap, HostError, add_header, header_pairs, remove_header};
use signet_policy::{Header, HeaderNames};

/// What the filter tells the API about an allowed request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told<'a> {
    pub(crate) spiffe_id: &'a str,
    pub(crate) rule: &'a str,
    pub(crate) db_role: Option<&'a str>,
}

/// Writes what the filter says. None of these names is left after [`strip`], so adding is as good as replacing, which
/// would look for them again.
pub(crate) fn tell(names: &HeaderNames, told: &Told<'_>) -> Result<(), HostError> {
    let request = HeaderMap::Request;
    add_header(request, names.spiffe_id.as_str(), told.spiffe_id.as_bytes())?;
    add_header(request, names.rule.as_str(), told.rule.as_bytes())?;
    if let Some(db_role) = told.db_role {
        add_header(request, names.db_role.as_str(), db_role.as_bytes())?;
    }
    Ok(())
}

/// Takes the same names out of the request's trailers: some servers merge them into the headers.
pub(crate) fn strip_trailers(names: &HeaderNames) -> Result<(), HostError> {
    let trailers = header_pairs(HeaderMap::RequestTrailers)?;
    strip(names, HeaderMap::RequestTrailers, &trailers.to_vec())
}

/// Takes the client's own forgeries out of a map that holds `headers`: neither the API nor an access log shall see them.
pub(crate) fn strip(
    names: &HeaderNames,
    map: HeaderMap,
    headers: &[Header<'_>],
) -> Result<(), HostError> {
    for (name, _) in headers.iter().filter(|(name, _)| is_forgery(names, name)) {
        remove_header(map, name)?;
    }
    Ok(())
}

/// A name that only we or Envoy may use. Some servers take `_` for `-`, so the twins count too.
fn is_forgery(names: &HeaderNames, name: &[u8]) -> bool {
    [&names.spiffe_id, &names.rule, &names.db_role]
        .into_iter()
        .any(|ours| name.len() == ours.as_str().len() && begins_like(name, ours.as_str()))
        || begins_like(name, "x-envoy-")
}

fn begins_like(name: &[u8], prefix: &str) -> bool {
    let fold = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    name.len() >= prefix.len() && name.iter().zip(prefix.bytes()).all(|(&a, b)| fold(a) == fold(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_names_their_twins_and_those_of_envoy_are_forgeries() {
        let names = HeaderNames::default();
        for name in [
            "x-spiffe-id",
            "x_spiffe_id",
            "X-Spiffe_Id",
            "x-db-role",
            "x_db-role",
            "x-signet-rule",
            "x-envoy-retry-on",
            "x_envoy_original_path",
            "x-envoy-",
        ] {
            assert!(is_forgery(&names, name.as_bytes()), "{name}");
        }
        for name in ["x-spiffe-ids", "spiffe-id", "x-db-rol", "x-envoy", "x-forwarded-for", ""] {
            assert!(!is_forgery(&names, name.as_bytes()), "{name}");
        }
    }
}
