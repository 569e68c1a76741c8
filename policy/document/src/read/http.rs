//! The rules about HTTP.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use signet_policy::{
    Effect, HeaderCondition, HeaderName, HostPattern, HttpRule, Method, Mode, PathPattern,
    UpgradeProtocol,
};

use super::{Addressed, Names, Reader};
use crate::fault::Fault;
use crate::node::{Node, Value, span_of};

const RULE: &str = "an HTTP rule";
const KEYS: &[&str] = &[
    "name",
    "effect",
    "mode",
    "from",
    "to",
    "methods",
    "paths",
    "hosts",
    "headers",
    "ports",
    "upgrades",
    "db_role",
    "allow_privileged",
];

/// The methods of HTTP and of its registered extensions. Envoy refuses others.
const METHODS: &[&str] = &[
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "QUERY",
    "ACL",
    "BIND",
    "CHECKOUT",
    "COPY",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MOVE",
    "PROPFIND",
    "PROPPATCH",
    "PURGE",
    "REBIND",
    "REPORT",
    "SEARCH",
    "SUBSCRIBE",
    "UNBIND",
    "UNLINK",
    "UNLOCK",
    "UNSUBSCRIBE",
];

/// Reads one rule. `None` where it is faulty.
pub(crate) fn http_rule(
    reader: &mut Reader<'_>,
    node: &Node,
    names: &Names,
) -> Option<Addressed<HttpRule>> {
    let keys = reader.keys(node, RULE, KEYS)?;
    let before = reader.fault_count();
    let name = reader.require(&keys, "name");
    let name_span = name.map(span_of);
    let name = name.and_then(|node| reader.rule_name(node));
    let effects = [("allow", Effect::Allow), ("deny", Effect::Deny)];
    let effect = keys.get("effect").map(|node| reader.word(node, "effect", &effects));
    let modes = [("enforce", Mode::Enforce), ("shadow", Mode::Shadow)];
    let mode = keys.get("mode").map(|node| reader.word(node, "mode", &modes));
    let from = reader.require(&keys, "from").and_then(|node| reader.entries(node, "from", names));
    let to = reader.require(&keys, "to").and_then(|node| reader.entries(node, "to", names));
    let methods = keys.get("methods").map(|node| reader.list(node, "methods", Reader::method));
    let paths = keys.get("paths").map(|node| {
        reader.list(node, "paths", |reader, item| {
            reader.parsed(item, "paths", |text| PathPattern::parse(&text))
        })
    });
    let hosts = keys.get("hosts").map(|node| {
        reader.list(node, "hosts", |reader, item| {
            reader.parsed(item, "hosts", |text| HostPattern::parse(&text))
        })
    });
    let ports = keys.get("ports").map(|node| {
        reader.list(node, "ports", |reader, item| {
            let port = reader.integer(item, "ports", 1, u16::MAX.into())?;
            u16::try_from(port).ok()
        })
    });
    let upgrades = keys.get("upgrades").map(|node| {
        reader.list(node, "upgrades", |reader, item| {
            reader.parsed(item, "upgrades", UpgradeProtocol::try_from)
        })
    });
    let headers = keys.get("headers").map(|node| reader.headers(node)).unwrap_or_default();
    let privileged = reader.allow_privileged(&keys);
    let db_role = keys.get("db_role").map(|node| reader.role(node, "db_role", privileged));
    if let (Some(Some(Effect::Deny)), Some(node)) = (effect, keys.get("db_role")) {
        reader.fault(Fault::new(
            span_of(node),
            "a deny has a `db_role`",
            "never told to anyone",
            "leave it out: a denied call has no role",
        ));
    }
    if reader.fault_count() > before {
        return None;
    }
    let mut rule = HttpRule {
        db_role: db_role.flatten(),
        effect: effect.flatten().unwrap_or_default(),
        from: from?,
        headers,
        hosts: hosts.flatten(),
        jwt: BTreeMap::new(),
        methods: methods.flatten(),
        mode: mode.flatten().unwrap_or_default(),
        name: name?,
        paths: paths.flatten(),
        ports: ports.flatten(),
        upgrades: upgrades.flatten(),
    };
    rule.sort_sets();
    Some(Addressed { rule, to: to?, name_span: name_span? })
}

impl Reader<'_> {
    fn method(&mut self, node: &Node) -> Option<Method> {
        let words: Vec<_> = METHODS.iter().map(|method| (*method, *method)).collect();
        let method = self.word(node, "method", &words)?;
        Method::try_from(method.to_owned()).ok()
    }

    fn headers(&mut self, node: &Node) -> BTreeMap<HeaderName, HeaderCondition> {
        let mut headers = BTreeMap::new();
        let Value::Map(map) = &node.value else {
            let help = "accepted: names and conditions, such as `x-tenant: acme`";
            self.wrong_kind(node, "headers", "a mapping", help);
            return headers;
        };
        if map.is_empty() {
            let help = "name at least one, or leave the key out";
            self.fault(Fault::new(span_of(node), "`headers` is empty", "says nothing", help));
        }
        for (key, value) in map {
            let name = self.parsed(key, "headers", HeaderName::try_from);
            let condition = self.condition(value);
            let (Some(name), Some(condition)) = (name, condition) else { continue };
            match headers.entry(name) {
                Entry::Vacant(entry) => {
                    entry.insert(condition);
                }
                Entry::Occupied(entry) => {
                    let message = format!("header `{}` stands twice", entry.key());
                    self.fault(Fault::new(span_of(key), message, "here again", "name each once"));
                }
            }
        }
        headers
    }

    /// One condition on a header: a value, a list of values, or a mapping that says which kind.
    fn condition(&mut self, node: &Node) -> Option<HeaderCondition> {
        const CONDITION: &str = "a header's condition";
        match &node.value {
            Value::Map(_) => {}
            Value::List(_) => {
                let values =
                    self.list(node, "headers", |reader, item| reader.plain(item, "headers"))?;
                return Some(HeaderCondition::Equals(values));
            }
            _ => return Some(HeaderCondition::Equals(vec![self.plain(node, "headers")?])),
        }
        let before = self.fault_count();
        let keys = self.keys(node, CONDITION, &["equals", "absent", "present"])?;
        if self.fault_count() > before {
            return None;
        }
        let conditions = ["equals", "absent", "present"];
        let mut found = conditions.iter().filter_map(|key| Some((*key, keys.get(key)?)));
        let help = "one of `equals: VALUE`, `absent: true` and `present: true` is accepted";
        let (Some((key, value)), None) = (found.next(), found.next()) else {
            let fault = Fault::new(
                span_of(node),
                "a header's condition says none or more than one thing",
                "should be one condition",
                help,
            );
            self.fault(fault);
            return None;
        };
        if key == "equals" {
            return match &value.value {
                Value::Map(_) => {
                    self.wrong_kind(value, "equals", "a text or a list", help);
                    None
                }
                _ => self.condition(value),
            };
        }
        if !self.boolean(value, key)? {
            let message = format!("`{key}` is false");
            self.fault(Fault::new(span_of(value), message, "says nothing", help));
            return None;
        }
        Some(if key == "absent" { HeaderCondition::Absent } else { HeaderCondition::Present })
    }
}
