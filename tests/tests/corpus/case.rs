//! One case of the corpus and the line that holds it. The format is told in `tests/corpus/README.md`.

use std::fmt::Write as _;

use serde_json::Value;

/// The caller that most cases have.
pub(crate) const CLIENT: &str = "spiffe://example.org/ns/client-ns/sa/client";

/// A request, and what the policy says to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) id: String,
    /// The URI SANs of the caller's certificate, joined by commas; nothing without a certificate.
    pub(crate) from: Option<String>,
    pub(crate) method: Vec<u8>,
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) authority: Option<Vec<u8>>,
    pub(crate) scheme: String,
    pub(crate) headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// `allow`, `deny` or `refuse`.
    pub(crate) expect: String,
    pub(crate) rule: Option<String>,
    pub(crate) db_role: Option<String>,
    /// `h1`, `h2` or `filter` where the request cannot be made otherwise.
    pub(crate) over: Option<String>,
    /// Envoy itself stops what the policy would allow.
    pub(crate) envoy_stops: bool,
}

impl Case {
    pub(crate) fn new(id: impl Into<String>, method: &str, path: impl Into<Vec<u8>>) -> Self {
        Self {
            id: id.into(),
            from: Some(CLIENT.to_owned()),
            method: method.into(),
            path: Some(path.into()),
            authority: Some(b"api".to_vec()),
            scheme: "https".to_owned(),
            headers: Vec::new(),
            expect: "deny".to_owned(),
            rule: None,
            db_role: None,
            over: None,
            envoy_stops: false,
        }
    }

    pub(crate) fn from(mut self, from: impl Into<String>) -> Self {
        self.from = Some(from.into());
        self
    }

    pub(crate) fn authority(mut self, authority: impl Into<Vec<u8>>) -> Self {
        self.authority = Some(authority.into());
        self
    }

    pub(crate) fn header(mut self, name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn over(mut self, over: &str) -> Self {
        self.over = Some(over.to_owned());
        self
    }

    pub(crate) fn allowed(mut self, rule: &str, db_role: Option<&str>) -> Self {
        self.expect = "allow".into();
        self.rule = Some(rule.to_owned());
        self.db_role = db_role.map(str::to_owned);
        self
    }

    pub(crate) fn denied(mut self, rule: &str) -> Self {
        self.expect = "deny".into();
        self.rule = Some(rule.to_owned());
        self.db_role = None;
        self
    }

    pub(crate) fn refused(mut self) -> Self {
        self.expect = "refuse".into();
        (self.rule, self.db_role) = (None, None);
        self
    }

    pub(crate) fn envoy_stops(mut self) -> Self {
        self.envoy_stops = true;
        self
    }

    /// Whether the case can be sent over this protocol, `h1` or `h2`.
    pub(crate) fn goes_over(&self, protocol: &str) -> bool {
        self.over.as_deref().is_none_or(|over| over == protocol)
    }

    /// The pseudo-headers and headers in the order in which HTTP/2 has them.
    pub(crate) fn lines(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut lines = vec![(b":method".to_vec(), self.method.clone())];
        // A plain CONNECT has neither (RFC 9113 §8.5).
        if self.path.is_some() {
            lines.push((b":scheme".to_vec(), self.scheme.clone().into()));
        }
        lines.extend(self.path.clone().map(|path| (b":path".to_vec(), path)));
        lines.extend(self.authority.clone().map(|authority| (b":authority".to_vec(), authority)));
        // A pseudo-header stands before all others.
        let (pseudo, plain): (Vec<_>, Vec<_>) =
            self.headers.iter().cloned().partition(|(name, _)| name.starts_with(b":"));
        lines.extend(pseudo);
        lines.extend(plain);
        lines
    }

    pub(crate) fn read(line: &str) -> Self {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        let octets = |value: &Value| octets(value.as_str().expect("a string of octets"));
        let optional = |key: &str, default: &[u8]| match value.get(key) {
            None => Some(default.to_vec()),
            Some(Value::Null) => None,
            Some(value) => Some(octets(value)),
        };
        let headers = value["headers"].as_array().into_iter().flatten();
        Self {
            id: text("id").expect("an id"),
            from: match value.get("from") {
                None => Some(CLIENT.to_owned()),
                Some(from) => from.as_str().map(str::to_owned),
            },
            method: optional("method", b"GET").expect("a method"),
            path: optional("path", b"/"),
            authority: optional("authority", b"api"),
            scheme: text("scheme").unwrap_or_else(|| "https".to_owned()),
            headers: headers.map(|pair| (octets(&pair[0]), octets(&pair[1]))).collect(),
            expect: text("expect").expect("an expectation"),
            rule: text("rule"),
            db_role: text("db_role"),
            over: text("over"),
            envoy_stops: value["envoy"] == "stops",
        }
    }

    /// The case's line, defaults left out.
    pub(crate) fn write(&self) -> String {
        let mut line = format!("{{\"id\":{}", Value::from(self.id.as_str()));
        let mut put = |key: &str, value: Value| {
            let _ = write!(line, ",\"{key}\":{value}");
        };
        if self.from.as_deref() != Some(CLIENT) {
            put("from", self.from.clone().into());
        }
        if self.method != b"GET" {
            put("method", shown(&self.method));
        }
        put("path", self.path.as_deref().map_or(Value::Null, shown));
        if self.authority.as_deref() != Some(b"api") {
            put("authority", self.authority.as_deref().map_or(Value::Null, shown));
        }
        if self.scheme != "https" {
            put("scheme", self.scheme.clone().into());
        }
        if !self.headers.is_empty() {
            let pairs = self.headers.iter().map(|(n, v)| Value::from(vec![shown(n), shown(v)]));
            put("headers", pairs.collect());
        }
        put("expect", self.expect.clone().into());
        for (key, value) in [("rule", &self.rule), ("db_role", &self.db_role), ("over", &self.over)]
        {
            if let Some(value) = value {
                put(key, value.clone().into());
            }
        }
        if self.envoy_stops {
            put("envoy", "stops".into());
        }
        line.push('}');
        // Octets that are no printable ASCII stay visible.
        let visible = |c: char| match c {
            ' '..='~' => c.to_string(),
            c => format!("\\u{:04x}", u32::from(c)),
        };
        line.chars().map(visible).collect()
    }
}

/// Each character is one octet.
fn octets(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).expect("a character up to U+00FF")).collect()
}

fn shown(octets: &[u8]) -> Value {
    octets.iter().copied().map(char::from).collect::<String>().into()
}
