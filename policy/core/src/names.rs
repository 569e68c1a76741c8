//! Names that a policy gives or uses, each checked once when it is read.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest role or database name in bytes: Postgres cuts longer ones without a word (NAMEDATALEN).
pub(crate) const MAX_POSTGRES_NAME: usize = 63;
/// Longest name of a rule in bytes.
const MAX_RULE_NAME: usize = 100;
/// Longest name of a JWT claim in bytes.
const MAX_CLAIM_NAME: usize = 200;

/// Why a text is no name of its kind: a sentence that says what would be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameError(&'static str);

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for NameError {}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as it was written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                let check: fn(&str) -> Result<(), &'static str> = $check;
                check(&text).map(|()| Self(text)).map_err(NameError)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The name of a rule: what logs, metrics and headers call it.
    RuleName, |text| {
        let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if text.is_empty() || text.len() > MAX_RULE_NAME || !text.bytes().all(valid) {
            return Err(
                "a rule's name has 1 to 100 of the characters `A-Z`, `a-z`, `0-9`, `-`, `_` and `.`"
            );
        }
        Ok(())
    }
}

name! {
    /// A Postgres role, at most 63 bytes.
    RoleName, |text| {
        if text.is_empty() || text.len() > MAX_POSTGRES_NAME || text.contains('\0') {
            return Err("a Postgres role has 1 to 63 bytes and no NUL");
        }
        if text.eq_ignore_ascii_case("none") || text.eq_ignore_ascii_case("public") {
            return Err("`none` and `public` are key words of Postgres, not roles");
        }
        // The role also travels in an HTTP header and in the access log.
        if text.chars().any(char::is_control) {
            return Err("a Postgres role has no control characters here");
        }
        Ok(())
    }
}

name! {
    /// A Postgres database, at most 63 bytes, or `*` for any.
    DatabaseName, |text| {
        if text.is_empty() || text.len() > MAX_POSTGRES_NAME || text.contains('\0') {
            return Err("a Postgres database has 1 to 63 bytes and no NUL; `*` stands for any");
        }
        if !is_database(text.as_bytes()) {
            return Err("a Postgres database has no control characters here");
        }
        Ok(())
    }
}

name! {
    /// A Postgres setting (GUC) that a session may start with. Settings that choose who the session
    /// is are not for a rule to pass on: `login_role` and `may_act_as` do that.
    ParameterName, |text| {
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        let rest = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'$'));
        if !first || !rest || text.len() > MAX_POSTGRES_NAME {
            return Err("a Postgres setting has 1 to 63 letters, digits, `_`, `$` or `.`");
        }
        let forbidden = ["role", "session_authorization", "user", "database", "options", "replication"];
        let reserved = ["signet.", "_pq_."];
        let lower = text.to_ascii_lowercase();
        if forbidden.contains(&lower.as_str()) || reserved.iter().any(|p| lower.starts_with(p)) {
            return Err("this setting says who the session is or how it speaks, and only the rule's own keys do that");
        }
        Ok(())
    }
}

name! {
    /// An HTTP method, compared exactly.
    Method, |text| if is_token(text) { Ok(()) } else { Err("a method is an HTTP token such as `GET`") }
}

name! {
    /// An HTTP header's name in lower case.
    HeaderName, |text| {
        if !is_token(text) || text.bytes().any(|b| b.is_ascii_uppercase() || b == b'_') {
            return Err("a header's name is an HTTP token in lower case without `_`, such as `x-tenant`");
        }
        // Envoy shows it as `:authority`, so a condition on it would never see a value.
        if text == "host" {
            return Err("the host is no header here: conditions on it stand under `hosts`");
        }
        Ok(())
    }
}

name! {
    /// A protocol that a connection may be upgraded to, in lower case.
    UpgradeProtocol, |text| {
        let valid = |b: u8| b == b'/' || is_token_byte(b) && !b.is_ascii_uppercase();
        if text.is_empty() || !text.bytes().all(valid) {
            return Err("an upgrade protocol is an HTTP token in lower case, such as `websocket`");
        }
        Ok(())
    }
}

name! {
    /// Where a JWT claim stands in the payload: its keys from the outside in, joined by `.`; a key's
    /// own `.` is written `\.`.
    ClaimName, |text| {
        if text.len() > MAX_CLAIM_NAME || text.chars().any(char::is_control) {
            return Err("a claim's name has at most 200 bytes and no control characters");
        }
        if claim_keys(text).any(|key| key.is_empty()) {
            return Err("a claim's name is one or more keys joined by `.`, such as `realm_access.roles`; a key's own `.` is written `\\.`");
        }
        Ok(())
    }
}

name! {
    /// The name under which Envoy's `jwt_authn` stores a verified payload: `payload_in_metadata`.
    PayloadName, |text| {
        if text.is_empty() || text.len() > MAX_CLAIM_NAME || text.chars().any(char::is_control) {
            return Err("a payload's name has 1 to 200 bytes and no control characters");
        }
        Ok(())
    }
}

impl Default for PayloadName {
    fn default() -> Self {
        Self("jwt_payload".to_owned())
    }
}

impl ClaimName {
    /// The keys from the outside in, as they stand in the payload.
    pub fn keys(&self) -> impl Iterator<Item = String> {
        claim_keys(&self.0)
    }
}

/// Splits a claim's name at each `.` that no `\` precedes.
fn claim_keys(text: &str) -> impl Iterator<Item = String> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let mut chars = rest.take()?.chars();
        let mut key = String::new();
        while let Some(c) = chars.next() {
            match c {
                '.' => {
                    rest = Some(chars.as_str());
                    break;
                }
                '\\' if chars.as_str().starts_with('.') => key.extend(chars.next()),
                c => key.push(c),
            }
        }
        Some(key)
    })
}

impl HeaderName {
    /// A name of our own, which is known to be valid.
    pub(crate) fn constant(name: &'static str) -> Self {
        Self(name.to_owned())
    }
}

impl DatabaseName {
    /// Whether this stands for any database.
    pub fn is_any(&self) -> bool {
        self.0 == "*"
    }

    /// Whether this stands for the database of that name, or for any.
    pub fn covers(&self, database: &str) -> bool {
        (self.is_any() || self.0 == database) && is_database(database.as_bytes())
    }
}

/// Whether a database may have this name here. Postgres writes it into its log as it came, before it looks whether there is such
/// a database: behind a line break a client would write lines of its own.
pub(crate) fn is_database(name: &[u8]) -> bool {
    !name.iter().any(u8::is_ascii_control)
}

/// Whether `text` is a token of RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

const fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric()
        || matches!(
            b,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

#[cfg(test)]
mod tests {
    use super::{
        ClaimName, DatabaseName, HeaderName, Method, ParameterName, PayloadName, RoleName,
        RuleName, UpgradeProtocol,
    };

    fn check<T: TryFrom<String>>(good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(T::try_from((*text).to_owned()).is_ok(), "{text:?} should be accepted");
        }
        for text in bad {
            assert!(T::try_from((*text).to_owned()).is_err(), "{text:?} should be refused");
        }
    }

    #[test]
    fn names() {
        let b63 = "r".repeat(63);
        let b64 = "r".repeat(64);
        let b101 = "r".repeat(101);
        check::<RuleName>(&["a", "client-reads", "A.b_1"], &["", "a b", "é", "a\n", "a/b", &b101]);
        check::<RoleName>(
            &["api", "Customers Reader", "é", &b63],
            &["", "none", "None", "PUBLIC", "a\0b", "a\nb", &b64],
        );
        check::<DatabaseName>(&["customers", "*", "a b", &b63], &["", "a\0", "a\n", &b64]);
        check::<ClaimName>(
            &["sub", "realm_access.roles", r"https://example\.org/roles", r"a\b", "a b"],
            &["", ".", "a.", ".a", "a..b", "a\0b", "a\n", &"c".repeat(201)],
        );
        check::<PayloadName>(&["jwt_payload", "a.b"], &["", "a\0"]);
        check::<ParameterName>(
            &["search_path", "app.tenant", "DateStyle"],
            &[
                "",
                "1a",
                "a-b",
                "a b",
                "role",
                "ROLE",
                "session_authorization",
                "user",
                "database",
                "options",
                "replication",
                "signet.x",
                "Signet.x",
                "_pq_.x",
                &b64,
            ],
        );
        check::<Method>(&["GET", "X-CUSTOM"], &["", "GET ", "G/T", "GÉT"]);
        check::<HeaderName>(
            &["x-tenant", "accept"],
            &["", ":path", "X-Tenant", "x_tenant", "a b", "host"],
        );
        check::<UpgradeProtocol>(&["websocket", "tls/1.3"], &["", "WebSocket", "a,b", "a b"]);
    }

    #[test]
    fn claim_keys() {
        for (name, keys) in [
            ("sub", &["sub"][..]),
            ("realm_access.roles", &["realm_access", "roles"]),
            (r"https://example\.org/roles.x", &["https://example.org/roles", "x"]),
            (r"a\b\", &[r"a\b\"]),
        ] {
            let name = ClaimName::try_from(name.to_owned()).unwrap();
            assert_eq!(name.keys().collect::<Vec<_>>(), keys);
        }
    }
}
