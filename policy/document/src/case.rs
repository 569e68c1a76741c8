//! Test cases: what is asked, by whom, and what should be decided.

use std::fmt;

/// One request or connection, and perhaps what is expected of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Case {
    /// The caller's SPIFFE ID.
    pub from: String,
    /// The destination's SPIFFE ID.
    pub to: String,
    /// What is asked.
    pub ask: Ask,
    /// What should be decided. A case that is only to be decided has none.
    pub expect: Option<Expectation>,
    /// The text in which the case stands.
    pub file: String,
    /// The line of the text in which the case stands, from 1.
    pub line: usize,
    /// The case in words, with the names as they were written.
    pub title: String,
}

impl Case {
    /// The same, with a title that says what it asks now.
    pub(crate) fn retitled(self) -> Self {
        Self { title: format!("{} → {}: {}", self.from, self.to, self.ask), ..self }
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    /// A request.
    Http(HttpAsk),
    /// A connection.
    Postgres(PostgresAsk),
}

/// What is asked, with all that makes it differ from a plain request or connection.
impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more: Vec<String> = match self {
            Self::Http(ask) => {
                write!(f, "{} {}", ask.method, ask.path)?;
                let host = ask.host.iter().map(|host| format!("host {host}"));
                let port = ask.port.iter().map(|port| format!("port {port}"));
                let upgrade = ask.upgrade.iter().map(|protocol| format!("upgrade {protocol}"));
                let headers = ask.headers.iter().map(|(name, value)| format!("{name}: {value}"));
                let claims = ask.claims.iter().map(|(name, value)| format!("claim {name}={value}"));
                host.chain(port).chain(upgrade).chain(headers).chain(claims).collect()
            }
            Self::Postgres(ask) => {
                write!(f, "database {}", ask.database)?;
                if let Some(user) = &ask.user {
                    write!(f, " as {user}")?;
                }
                ask.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect()
            }
        };
        if more.is_empty() { Ok(()) } else { write!(f, " with {}", more.join(", ")) }
    }
}

/// An HTTP request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HttpAsk {
    /// The method, as it is.
    pub method: String,
    /// The path and query, as they are.
    pub path: String,
    /// The `:authority`.
    pub host: Option<String>,
    /// More headers, a line each.
    pub headers: Vec<(String, String)>,
    /// The claims of the caller's JWT, a value each.
    pub claims: Vec<(String, String)>,
    /// The port that the connection comes in at.
    pub port: Option<u16>,
    /// The protocol that an `Upgrade` asks for.
    pub upgrade: Option<String>,
}

impl HttpAsk {
    /// Splits `METHOD PATH` at the first space.
    pub fn of_request(request: &str) -> Option<Self> {
        let (method, path) = request.split_once(' ')?;
        let valid = !method.is_empty() && !path.is_empty();
        valid.then(|| Self { method: method.to_owned(), path: path.to_owned(), ..Self::default() })
    }

    /// All header lines of the request with its pseudo-headers, as Envoy shows them to its filters.
    pub fn header_lines(&self) -> Vec<(&str, &str)> {
        let mut lines = Vec::new();
        // The extended CONNECT of HTTP/2 and HTTP/3 (RFC 8441) reaches filters as the GET that it is in
        // HTTP/1.1. The target of a plain one is its authority.
        let plain_connect = self.method == "CONNECT" && self.upgrade.is_none();
        let extended_connect = self.method == "CONNECT" && !plain_connect;
        lines.push((":method", if extended_connect { "GET" } else { &self.method }));
        if plain_connect {
            lines.push((":authority", self.host.as_deref().unwrap_or(&self.path)));
        } else {
            lines.push((":path", &self.path));
            lines.extend(self.host.as_deref().map(|host| (":authority", host)));
        }
        if let Some(protocol) = &self.upgrade {
            lines.extend([("connection", "upgrade"), ("upgrade", protocol)]);
        }
        lines.extend(self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        if !asks_for_upgrade(&lines) {
            lines.retain(|line| !is(line, "upgrade") && !is(line, "connection"));
        }
        lines
    }
}

/// Whether Envoy takes a request for an upgrade: `Connection` must name it (RFC 9110 §7.8), and h2c is
/// never one. It takes both headers off all others.
fn asks_for_upgrade(lines: &[(&str, &str)]) -> bool {
    let values = |name| lines.iter().filter(move |line| is(line, name)).map(|(_, value)| *value);
    let named =
        |value: &str| value.split(',').any(|option| option.trim().eq_ignore_ascii_case("upgrade"));
    values("connection").any(named)
        && values("upgrade").any(|value| !value.eq_ignore_ascii_case("h2c"))
}

fn is((name, _): &(&str, &str), wanted: &str) -> bool {
    name.eq_ignore_ascii_case(wanted)
}

/// A connection to Postgres.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PostgresAsk {
    /// The database.
    pub database: String,
    /// The user, if the client names one: else the login role of the rule that decides.
    pub user: Option<String>,
    /// More start-up parameters, `options` included.
    pub parameters: Vec<(String, String)>,
}

impl PostgresAsk {
    /// The user that the start-up names: the one asked for, or else `login_role`.
    pub fn user_or(&self, login_role: Option<&str>) -> String {
        self.user.as_deref().or(login_role).unwrap_or("nobody").to_owned()
    }
}

/// What should be decided. What isn't said isn't compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Expectation {
    /// The decision itself.
    pub verdict: Verdict,
    /// The rule that decides; `Some(None)` is the default deny.
    pub rule: Option<Option<String>>,
    /// The role: what the API is told, or what the connection becomes.
    pub role: Option<Option<String>>,
}

/// A decision without its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Forwarded.
    Allow,
    /// Denied by the policy.
    Deny,
    /// Not judged: ambiguous or malformed.
    Refuse,
}

impl Verdict {
    /// `allow`, `deny` or `refuse`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Refuse => "refuse",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
