//! Test cases.

use signet_policy::ClaimName;

use super::{Keys, Names, Reader};
use crate::case::{Ask, Case, Expectation, HttpAsk, PostgresAsk, Verdict};
use crate::fault::Fault;
use crate::node::{Node, Value, span_of};

const CASE: &str = "a test case";
pub(crate) const KEYS: &[&str] = &[
    "from",
    "to",
    "request",
    "host",
    "headers",
    "jwt",
    "port",
    "upgrade",
    "db_role",
    "database",
    "user",
    "parameters",
    "role",
    "expect",
    "rule",
];

/// Reads a list of cases; the faulty ones are left out.
pub(crate) fn cases(reader: &mut Reader<'_>, node: &Node<'_>, names: &Names) -> Vec<Case> {
    let Value::List(items) = &node.value else {
        reader.wrong_kind(node, "tests", "a list", "a list of test cases is accepted");
        return Vec::new();
    };
    let mut cases = Vec::with_capacity(items.len());
    for item in items {
        if reader.is_full() {
            break;
        }
        cases.extend(test(reader, item, names));
    }
    cases
}

/// Reads one case that says what it expects.
fn test(reader: &mut Reader<'_>, node: &Node<'_>, names: &Names) -> Option<Case> {
    let case = case(reader, node, names)?;
    if case.expect.is_none() {
        reader.fault(Fault::new(
            span_of(node),
            "a test case has no key `expect`",
            "tests nothing",
            "`expect` is required: `allow`, `deny` or `refuse`",
        ));
    }
    Some(case)
}

/// Reads one case. `None` where it is faulty.
pub(crate) fn case(reader: &mut Reader<'_>, node: &Node<'_>, names: &Names) -> Option<Case> {
    let keys = reader.keys(node, CASE, KEYS)?;
    let before = reader.fault_count();
    let from = reader.require(&keys, "from");
    let to = reader.require(&keys, "to");
    let written = |node: Option<&Node<'_>>| match node.map(|node| &node.value) {
        Some(Value::Text(text)) => text.clone().into_owned(),
        _ => String::new(),
    };
    let who = format!("{} → {}", written(from), written(to));
    let from = from.and_then(|node| reader.concrete(node, "from", names));
    let to = to.and_then(|node| reader.concrete(node, "to", names));
    let ask = match (keys.get("request"), keys.get("database")) {
        (Some(request), None) => reader.http_ask(request, &keys),
        (None, Some(database)) => reader.postgres_ask(database, &keys),
        (Some(_), Some(both)) => {
            reader.fault(Fault::new(
                span_of(both),
                "a test case has `request` and `database`",
                "which of them?",
                "`request` asks over HTTP, `database` asks Postgres",
            ));
            None
        }
        (None, None) => {
            reader.require(&keys, "request");
            None
        }
    };
    let expect = reader.expectation(&keys);
    if reader.fault_count() > before {
        return None;
    }
    let (from, to, ask) = (from?, to?, ask?);
    let what = ask.to_string();
    let line = reader.line_of(node);
    let file = reader.name().to_owned();
    Some(Case {
        from,
        to,
        ask,
        expect,
        file,
        line,
        title: format!("{who}: {}", what.escape_debug()),
    })
}

impl Reader<'_> {
    fn http_ask(&mut self, request: &Node<'_>, keys: &Keys<'_>) -> Option<Ask> {
        self.misplaced(keys, &["user", "parameters", "role"], "request");
        let text = self.text(request, "request")?;
        let Some(mut ask) = HttpAsk::of_request(text) else {
            let message = format!("`request` is `{}`", text.escape_debug());
            let help = "a method, a space and a path are accepted, such as `GET /customers`";
            self.fault(Fault::new(span_of(request), message, "no request", help));
            return None;
        };
        ask.host = keys.get("host").and_then(|node| self.text(node, "host")).map(str::to_owned);
        ask.upgrade =
            keys.get("upgrade").and_then(|node| self.text(node, "upgrade")).map(str::to_owned);
        if let Some(node) = keys.get("port") {
            let port = self.integer(node, "port", 1, u16::MAX.into())?;
            ask.port = u16::try_from(port).ok();
        }
        if let Some(node) = keys.get("headers") {
            ask.headers = self.pairs(node, "headers");
        }
        if let Some(node) = keys.get("jwt") {
            ask.claims = self.pairs(node, "jwt");
            for (name, _) in &ask.claims {
                if let Err(error) = ClaimName::try_from(name.clone()) {
                    let message = format!("`jwt` is `{}`", name.escape_debug());
                    self.fault(Fault::new(
                        span_of(node),
                        message,
                        "not accepted",
                        error.to_string(),
                    ));
                }
            }
        }
        Some(Ask::Http(ask))
    }

    fn postgres_ask(&mut self, database: &Node<'_>, keys: &Keys<'_>) -> Option<Ask> {
        self.misplaced(keys, &["host", "headers", "jwt", "port", "upgrade", "db_role"], "database");
        let database = self.plain(database, "database")?;
        let user = keys.get("user").and_then(|node| self.plain(node, "user"));
        let parameters = keys.get("parameters").map(|node| self.pairs(node, "parameters"));
        Some(Ask::Postgres(PostgresAsk {
            database,
            user,
            parameters: parameters.unwrap_or_default(),
        }))
    }

    fn expectation(&mut self, keys: &Keys<'_>) -> Option<Expectation> {
        let verdicts = [Verdict::Allow, Verdict::Deny, Verdict::Refuse]
            .map(|verdict| (verdict.as_str(), verdict));
        let verdict = self.word(keys.get("expect")?, "expect", verdicts)?;
        let role = keys.get("db_role").or_else(|| keys.get("role"));
        Some(Expectation {
            verdict,
            rule: keys.get("rule").map(|node| self.or_null(node, "rule")),
            role: role.map(|node| self.or_null(node, "role")),
        })
    }

    fn or_null(&mut self, node: &Node<'_>, what: &str) -> Option<String> {
        match node.value {
            Value::Null => None,
            _ => self.text(node, what).map(str::to_owned),
        }
    }

    /// Names and values; a list of values is a line for each.
    fn pairs(&mut self, node: &Node<'_>, what: &str) -> Vec<(String, String)> {
        let Value::Map(map) = &node.value else {
            self.wrong_kind(node, what, "a mapping", "names and their values are accepted");
            return Vec::new();
        };
        let mut pairs = Vec::new();
        for (key, value) in map {
            let Some(name) = self.text(key, what) else { continue };
            let values = match &value.value {
                Value::List(items) => items.iter().collect(),
                _ => vec![value],
            };
            for value in values {
                if let Some(text) = self.plain(value, what) {
                    pairs.push((name.to_owned(), text));
                }
            }
        }
        pairs
    }

    /// Notes keys that don't go with what is asked.
    fn misplaced(&mut self, keys: &Keys<'_>, others: &[&str], ask: &str) {
        for key in others {
            if let Some(node) = keys.get(key) {
                self.fault(Fault::new(
                    span_of(node),
                    format!("a test case with `{ask}` has `{key}`"),
                    "says nothing here",
                    "`request` goes with host, headers, jwt, port, upgrade and db_role; `database` with \
                     user, parameters and role",
                ));
            }
        }
    }
}
