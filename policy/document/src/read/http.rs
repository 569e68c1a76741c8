//! The rules about HTTP.

use std::collections::BTreeMap;

use signet_policy::{
    Effect, HeaderCondition, HeaderName, HeaderNames, HostPattern, HttpRule, Method, Mode,
    PathPattern, UpgradeProtocol,
};

use super::{Addressed, Names, Reader};
use crate::fault::Fault;
use crate::node::{Node, span_of};

const RULE: &str = "an HTTP rule";
pub(crate) const KEYS: &[&str] = &[
    "name",
    "effect",
    "mode",
    "from",
    "to",
    "methods",
    "paths",
    "hosts",
    "headers",
    "jwt",
    "ports",
    "upgrades",
    "db_role",
    "allow_privileged",
];

/// The methods of HTTP and of its registered extensions. Envoy refuses others.
pub(crate) const METHODS: &[&str] = &[
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
    node: &Node<'_>,
    names: &Names,
) -> Option<Addressed<HttpRule>> {
    let keys = reader.keys(node, RULE, KEYS)?;
    let before = reader.fault_count();
    let name = reader.require(&keys, "name");
    let place = name.map(|node| reader.place_of(node));
    let name = name.and_then(|node| reader.rule_name(node));
    let effects = [("allow", Effect::Allow), ("deny", Effect::Deny)];
    let effect = keys.get("effect").map(|node| reader.word(node, "effect", effects));
    let modes = [("enforce", Mode::Enforce), ("shadow", Mode::Shadow)];
    let mode = keys.get("mode").map(|node| reader.word(node, "mode", modes));
    let from = reader.require(&keys, "from").and_then(|node| reader.entries(node, "from", names));
    let to = reader.require(&keys, "to").and_then(|node| reader.entries(node, "to", names));
    let methods = keys.get("methods").map(|node| reader.list(node, "methods", Reader::method));
    let paths = keys.get("paths").map(|node| {
        reader
            .list(node, "paths", |reader, item| reader.parsed(item, "paths", PathPattern::try_from))
    });
    let hosts = keys.get("hosts").map(|node| {
        reader
            .list(node, "hosts", |reader, item| reader.parsed(item, "hosts", HostPattern::try_from))
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
    let headers = keys.get("headers").map(|node| reader.header_conditions(node));
    let jwt = keys.get("jwt").map(|node| reader.conditions(node, "jwt"));
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
        headers: headers.unwrap_or_default(),
        hosts: hosts.flatten(),
        jwt: jwt.unwrap_or_default(),
        methods: methods.flatten(),
        mode: mode.flatten().unwrap_or_default(),
        name: name?,
        paths: paths.flatten(),
        ports: ports.flatten(),
        upgrades: upgrades.flatten(),
    };
    rule.sort_sets();
    Some(Addressed {
        rule,
        to: to?,
        place: place?,
        allow_privileged: privileged,
        anyone: keys.get("from").and_then(|node| reader.every_id(node)),
        anywhere: keys.get("to").and_then(|node| reader.every_id(node)),
        db_role: keys.get("db_role").map(|node| reader.place_of(node)),
    })
}

impl Reader<'_> {
    /// Conditions on headers, but for those that tell the API who called: until the filter has
    /// decided, they are the client's own words.
    fn header_conditions(&mut self, node: &Node<'_>) -> BTreeMap<HeaderName, HeaderCondition> {
        let conditions = self.conditions(node, "headers");
        let HeaderNames { db_role, rule, spiffe_id } = HeaderNames::default();
        for told in [&spiffe_id, &db_role, &rule] {
            if conditions.contains_key(told) {
                self.fault(Fault::new(
                    span_of(node),
                    format!("`headers` names `{told}`"),
                    "written by the filter, after it has decided",
                    "who calls is a matter of `from`",
                ));
            }
        }
        conditions
    }

    fn method(&mut self, node: &Node<'_>) -> Option<Method> {
        let method = self.word(node, "method", METHODS.iter().map(|method| (*method, *method)))?;
        Method::try_from(method.to_owned()).ok()
    }
}
