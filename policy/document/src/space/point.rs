//! One request or connection: a point of the space.

use super::rule::Named;
use crate::case::{Ask, Case, HttpAsk, PostgresAsk};

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Path(Vec<String>),
    Asterisk,
}

/// One request or connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) to: Vec<String>,
    pub(crate) from: Vec<String>,
    pub(crate) target: Target,
    pub(crate) method: String,
    pub(crate) host: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) upgrades: Vec<String>,
    /// Header lines and claims, by their kind and name, in that order. None is empty.
    values: Vec<((Named, String), Vec<String>)>,
    /// Of a connection to Postgres.
    pub(crate) database: Option<String>,
}

impl Point {
    /// A point between two identities that asks for nothing yet.
    pub(super) const fn between(from: Vec<String>, to: Vec<String>) -> Self {
        Self {
            to,
            from,
            target: Target::Path(Vec::new()),
            method: String::new(),
            host: None,
            port: None,
            upgrades: Vec::new(),
            values: Vec::new(),
            database: None,
        }
    }

    /// The labels of the host, from right to left.
    pub(super) fn host_labels(&self) -> Option<Vec<&str>> {
        self.host.as_ref().map(|host| host.rsplit('.').collect())
    }

    /// The lines of a header, or the values of a claim.
    pub(super) fn values(&self, (kind, name): (Named, &str)) -> &[String] {
        self.place_of(kind, name).map_or(&[], |at| &self.values[at].1)
    }

    /// Gives a header, or a claim, these values in the place of others.
    pub(super) fn put_values(&mut self, key: &(Named, String), values: &[String]) {
        match (self.place_of(key.0, &key.1), values.is_empty()) {
            (Ok(at), true) => drop(self.values.remove(at)),
            (Ok(at), false) => self.values[at].1 = values.to_vec(),
            (Err(_), true) => {}
            (Err(at), false) => self.values.insert(at, (key.clone(), values.to_vec())),
        }
    }

    /// Where the values of a name stand, or would.
    fn place_of(&self, kind: Named, name: &str) -> Result<usize, usize> {
        self.values.binary_search_by(|(key, _)| (key.0, key.1.as_str()).cmp(&(kind, name)))
    }

    /// The point as a case that a filter can be asked about.
    pub(crate) fn case(&self) -> Case {
        let id = |segments: &[String]| format!("spiffe://{}", segments.join("/"));
        let (from, to) = (id(&self.from), id(&self.to));
        let (file, title) = (String::new(), String::new());
        Case { from, to, ask: self.ask(), expect: None, file, line: 0, title }.retitled()
    }

    /// What is asked, in words.
    pub(crate) fn what(&self) -> String {
        self.ask().to_string()
    }

    fn ask(&self) -> Ask {
        match &self.database {
            Some(database) => Ask::Postgres(PostgresAsk {
                database: database.clone(),
                user: None,
                parameters: Vec::new(),
            }),
            None => Ask::Http(self.request()),
        }
    }

    /// Who asks.
    pub(crate) fn caller(&self) -> String {
        format!("spiffe://{}", self.from.join("/"))
    }

    fn request(&self) -> HttpAsk {
        let pairs = |kind: Named| {
            let named = self.values.iter().filter(move |((found, _), _)| *found == kind);
            named
                .flat_map(|((_, name), values)| values.iter().map(|v| (name.clone(), v.clone())))
                .collect()
        };
        HttpAsk {
            method: self.method.clone(),
            path: match &self.target {
                Target::Asterisk => "*".to_owned(),
                Target::Path(segments) => {
                    format!(
                        "/{}",
                        segments.iter().map(|s| encoded(s)).collect::<Vec<_>>().join("/")
                    )
                }
            },
            host: self.host.clone(),
            headers: pairs(Named::Header),
            claims: pairs(Named::Claim),
            port: self.port,
            upgrade: (!self.upgrades.is_empty()).then(|| self.upgrades.join(", ")),
        }
    }
}

/// A segment as a request spells it: what needs no encoding stays, since requests that encode it are
/// refused.
fn encoded(segment: &str) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a string can't fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}
