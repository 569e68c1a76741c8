//! The facts of a request, gathered once.

use super::Ambiguity;
use super::host::host_of;
use super::path::{RequestPath, Target};
use super::twin::is_twin;

/// One header line: its name and its value.
pub type Header<'a> = (&'a [u8], &'a [u8]);

/// One value of a JWT claim: the claim's name as [`ClaimName`](crate::ClaimName) spells it, and the
/// value. A claim that is a list has one entry for each of its strings.
pub type Claim<'a> = (&'a str, &'a [u8]);

/// Headers by which some servers replace what was asked for.
const OVERRIDE_HEADERS: [&[u8]; 5] = [
    b"x-original-url",
    b"x-rewrite-url",
    b"x-http-method",
    b"x-http-method-override",
    b"x-method-override",
];

/// A request as Envoy shows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct HttpRequest<'a> {
    /// All header lines in order, with the pseudo-headers (`:method`, `:path`, `:authority`,
    /// `:protocol`), names in lower case.
    pub headers: &'a [Header<'a>],
    /// The port that the connection came in at, where the filter knows it. An allow with `ports`
    /// doesn't match without it; a deny with `ports` does.
    pub port: Option<u16>,
    /// The claims of the caller's JWT, as far as a rule looks at them, verified before.
    pub claims: &'a [Claim<'a>],
}

impl HttpRequest<'_> {
    /// Whether the request is gRPC by its content type, so that a denial must be a gRPC status.
    pub fn is_grpc(&self) -> bool {
        const GRPC: &[u8] = b"application/grpc";
        values(self.headers, b"content-type").next().is_some_and(|value| {
            let (kind, rest) = value.split_at_checked(GRPC.len()).unwrap_or_default();
            kind.eq_ignore_ascii_case(GRPC) && matches!(rest.first(), None | Some(b'+'))
        })
    }
}

/// The values of the header `name`, a line each.
fn values<'a>(headers: &'a [Header<'a>], name: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    headers
        .iter()
        .filter(move |(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| *value)
}

/// A request that has one reading only.
#[derive(Clone, Copy)]
pub(crate) struct HttpFacts<'a> {
    pub(crate) method: &'a [u8],
    pub(crate) target: Target<'a>,
    pub(crate) host: Option<&'a str>,
    pub(crate) port: Option<u16>,
    /// The protocol of an extended CONNECT.
    protocol: Option<&'a [u8]>,
    upgrades: bool,
    headers: &'a [Header<'a>],
    claims: &'a [Claim<'a>],
}

impl<'a> HttpFacts<'a> {
    /// Reads the facts, or says why the request is refused.
    pub(crate) fn parse(request: &HttpRequest<'a>) -> Result<Self, Ambiguity> {
        let headers = request.headers;
        let mut method = None;
        let mut path = None;
        let mut authority = None;
        let mut protocol = None;
        let mut upgrades = false;
        for &(name, value) in headers {
            // Asked by their first letter first: it rules out most headers.
            let (slot, ambiguity) = match name.first() {
                Some(b':') => match name {
                    b":method" => (&mut method, Ambiguity::Method),
                    b":path" => (&mut path, Ambiguity::NotAbsolute),
                    b":authority" => (&mut authority, Ambiguity::Authority),
                    b":protocol" => (&mut protocol, Ambiguity::Method),
                    _ => continue,
                },
                Some(b'u' | b'U') => {
                    upgrades |= name.eq_ignore_ascii_case(b"upgrade");
                    continue;
                }
                Some(b'x' | b'X') if is_override(name) => return Err(Ambiguity::OverrideHeader),
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err(ambiguity);
            }
        }
        let method = method.filter(|method| !method.is_empty()).ok_or(Ambiguity::Method)?;
        let target = match path {
            _ if method == b"CONNECT" && protocol.is_none() => Target::Connect,
            Some(b"*") if method == b"OPTIONS" => Target::Asterisk,
            Some(path) => Target::Path(RequestPath::parse(path)?),
            None => return Err(Ambiguity::NotAbsolute),
        };
        let host = host_of(authority.unwrap_or_default())?;
        upgrades |= protocol.is_some();
        let HttpRequest { port, claims, .. } = *request;
        Ok(Self { method, target, host, port, protocol, upgrades, headers, claims })
    }

    /// The values of the header `name`, a line each.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        values(self.headers, name.as_bytes())
    }

    /// The values of the JWT claim `name`.
    pub(crate) fn claims(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.claims.iter().filter(move |(found, _)| *found == name).map(|(_, value)| *value)
    }

    /// Whether the request asks for another protocol.
    pub(crate) const fn is_upgrade(&self) -> bool {
        self.upgrades
    }

    /// The protocols asked for: those of all `Upgrade` lines, and an extended CONNECT's.
    pub(crate) fn upgrades(&self) -> impl Iterator<Item = &'a [u8]> {
        self.values("upgrade")
            .flat_map(|value| value.split(|&b| b == b','))
            .map(<[u8]>::trim_ascii)
            .chain(self.protocol)
    }
}

fn is_override(name: &[u8]) -> bool {
    OVERRIDE_HEADERS.iter().any(|header| is_twin(name, header))
}

#[cfg(test)]
mod tests {
    use super::super::path::Target;
    use super::{Ambiguity, Header, HttpFacts, HttpRequest};

    fn refused(headers: &[Header<'_>]) -> Option<Ambiguity> {
        HttpFacts::parse(&HttpRequest { headers, ..Default::default() }).err()
    }

    #[test]
    fn ambiguous_requests() {
        let get: Header<'_> = (b":method", b"GET");
        let path: Header<'_> = (b":path", b"/a");
        assert_eq!(refused(&[get, path]), None);
        assert_eq!(refused(&[path]), Some(Ambiguity::Method));
        assert_eq!(refused(&[get, get, path]), Some(Ambiguity::Method));
        assert_eq!(refused(&[(b":method", b""), path]), Some(Ambiguity::Method));
        assert_eq!(refused(&[get]), Some(Ambiguity::NotAbsolute));
        assert_eq!(refused(&[get, path, path]), Some(Ambiguity::NotAbsolute));
        assert_eq!(refused(&[get, (b":path", b"*")]), Some(Ambiguity::NotAbsolute));
        assert_eq!(refused(&[get, path, (b":authority", b"u@h")]), Some(Ambiguity::Authority));
        let host: Header<'_> = (b":authority", b"h");
        assert_eq!(refused(&[get, path, host, host]), Some(Ambiguity::Authority));
        for name in [
            "x-original-url",
            "X-Original-URL",
            "x_original_url",
            "x-rewrite-url",
            "x-http-method",
            "x-http-method-override",
            "x-method-override",
            "X_Method_Override",
        ] {
            let header = (name.as_bytes(), &b"/b"[..]);
            assert_eq!(refused(&[get, path, header]), Some(Ambiguity::OverrideHeader), "{name}");
        }
        assert_eq!(refused(&[get, path, (b"x-original-urls", b"/b")]), None);
    }

    #[test]
    fn targets() {
        let target = |headers: &[Header<'_>], expected: fn(Target<'_>) -> bool| {
            HttpFacts::parse(&HttpRequest { headers, ..Default::default() })
                .is_ok_and(|f| expected(f.target))
        };
        let connect: Header<'_> = (b":method", b"CONNECT");
        assert!(target(&[(b":method", b"OPTIONS"), (b":path", b"*")], |t| t == Target::Asterisk));
        assert!(target(&[connect], |t| t == Target::Connect));
        assert!(target(&[connect, (b":path", b"h:1")], |t| t == Target::Connect));
        let extended = [connect, (b":protocol", b"websocket"), (b":path", b"/a")];
        assert!(target(&extended, |t| matches!(t, Target::Path(_))));
        assert_eq!(refused(&[connect, (b":protocol", b"websocket")]), Some(Ambiguity::NotAbsolute));
    }

    #[test]
    fn grpc() {
        for (content_type, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/gRPC", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            let headers = [(&b"content-type"[..], content_type.as_bytes())];
            let request = HttpRequest { headers: &headers, ..Default::default() };
            assert_eq!(request.is_grpc(), expected, "{content_type}");
        }
    }
}
