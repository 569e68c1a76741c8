//! What the API is told, and what a client may not tell it.

use host_calls::{HeaderMap, HostError, add_header, header_pairs, remove_header};
use signet_policy::{Header, HeaderNames, is_twin};

/// What the filter tells the API about an allowed request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told<'a> {
    pub(crate) spiffe_id: &'a str,
    pub(crate) rule: &'a str,
    pub(crate) db_role: Option<&'a str>,
}

/// Writes what the filter says. None of these names is left after [`Forgeries::strip`], so adding is as good as replacing, which
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

/// The names that only we or Envoy may use. Some servers take `_` for `-`, so the twins count too.
#[derive(Debug)]
pub(crate) struct Forgeries {
    ours: [Box<[u8]>; 3],
    /// A bit for each length of a name of ours; the last is for all that are longer.
    lengths: u64,
}

impl Forgeries {
    pub(crate) fn of(names: &HeaderNames) -> Self {
        let HeaderNames { spiffe_id, rule, db_role } = names;
        let ours = [spiffe_id, rule, db_role].map(|name| Box::from(name.as_str().as_bytes()));
        let lengths = ours.iter().fold(0, |lengths, name| lengths | Self::length(name));
        Self { ours, lengths }
    }

    /// Takes the client's own forgeries out of a map that holds `headers`: neither the API nor an access log shall see
    /// them.
    pub(crate) fn strip(&self, map: HeaderMap, headers: &[Header<'_>]) -> Result<(), HostError> {
        for (name, _) in headers {
            if self.include(name) {
                remove_header(map, name)?;
            }
        }
        Ok(())
    }

    /// Takes them out of the request's trailers: some servers merge these into the headers.
    pub(crate) fn strip_trailers(&self) -> Result<(), HostError> {
        let trailers = header_pairs(HeaderMap::RequestTrailers)?;
        self.strip(HeaderMap::RequestTrailers, &trailers.to_vec())
    }

    fn include(&self, name: &[u8]) -> bool {
        // Asked by its length first: it rules out most headers.
        let maybe = self.lengths & Self::length(name) != 0;
        (maybe && self.ours.iter().any(|ours| is_twin(name, ours))) || is_envoys(name)
    }

    const fn length(name: &[u8]) -> u64 {
        1 << if name.len() < 63 { name.len() } else { 63 }
    }
}

/// Whether a name begins with `x-envoy-`.
fn is_envoys(name: &[u8]) -> bool {
    // Asked by two letters first: they rule out most headers.
    match name {
        [b'x' | b'X', _, b'e' | b'E', ..] => {
            name.get(..8).is_some_and(|start| is_twin(start, b"x-envoy-"))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use signet_policy::HeaderName;

    use super::*;

    #[test]
    fn our_names_their_twins_and_those_of_envoy_are_forgeries() {
        let names = HeaderNames::default();
        let forgeries = Forgeries::of(&names);
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
            assert!(forgeries.include(name.as_bytes()), "{name}");
        }
        for name in ["x-spiffe-ids", "spiffe-id", "x-db-rol", "x-envoy", "x-forwarded-for", ""] {
            assert!(!forgeries.include(name.as_bytes()), "{name}");
        }
        let long = |end: char| format!("x-{}{end}", "o".repeat(100));
        let rule = HeaderName::try_from(long('a')).unwrap();
        let names = HeaderNames { rule, ..HeaderNames::default() };
        let forgeries = Forgeries::of(&names);
        assert!(forgeries.include(long('A').as_bytes()));
        assert!(!forgeries.include(long('b').as_bytes()));
        assert!(!forgeries.include(format!("{}a", long('a')).as_bytes()));
    }
}
