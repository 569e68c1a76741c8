//! The rules about Postgres.

use std::collections::{BTreeMap, BTreeSet};

use signet_policy::{DatabaseName, OnSvidExpiry, ParameterName, PostgresRule, RoleName};

use super::{Addressed, Keys, Names, Reader};
use crate::fault::Fault;
use crate::node::{Node, Value, span_of};

const RULE: &str = "a Postgres rule";
pub(crate) const KEYS: &[&str] = &[
    "name",
    "from",
    "to",
    "databases",
    "login_role",
    "may_act_as",
    "max_session",
    "on_svid_expiry",
    "settings",
    "client_parameters",
    "replication",
    "allow_privileged",
];

/// Reads one rule. `None` where it is faulty.
pub(crate) fn postgres_rule(
    reader: &mut Reader<'_>,
    node: &Node<'_>,
    names: &Names,
) -> Option<Addressed<PostgresRule>> {
    let keys = reader.keys(node, RULE, KEYS)?;
    let before = reader.fault_count();
    let name = reader.require(&keys, "name");
    let place = name.map(|node| reader.place_of(node));
    let name = name.and_then(|node| reader.rule_name(node));
    let from = reader.require(&keys, "from").and_then(|node| reader.entries(node, "from", names));
    let to = reader.require(&keys, "to").and_then(|node| reader.entries(node, "to", names));
    let databases = reader.require(&keys, "databases").and_then(|node| {
        reader.list(node, "databases", |reader, item| {
            reader.parsed(item, "databases", DatabaseName::try_from)
        })
    });
    let privileged = reader.allow_privileged(&keys);
    let login_role = reader
        .require(&keys, "login_role")
        .and_then(|node| reader.role(node, "login_role", privileged));
    let may_act_as = keys.get("may_act_as").map(|node| {
        reader.list(node, "may_act_as", |reader, item| reader.role(item, "may_act_as", privileged))
    });
    let max_session = keys.get("max_session").map(|node| reader.duration(node, "max_session", 1));
    let expiries = [("end", OnSvidExpiry::End), ("keep", OnSvidExpiry::Keep)];
    let on_svid_expiry =
        keys.get("on_svid_expiry").map(|node| reader.word(node, "on_svid_expiry", expiries));
    let settings = keys.get("settings").map(|node| reader.settings(node)).unwrap_or_default();
    let client_parameters = keys.get("client_parameters").map(|node| {
        reader.list(node, "client_parameters", |reader, item| {
            reader.parsed(item, "client_parameters", ParameterName::try_from)
        })
    });
    let replication = keys.get("replication").map(|node| reader.boolean(node, "replication"));
    if reader.fault_count() > before {
        return None;
    }
    let mut rule = PostgresRule {
        client_parameters: client_parameters.flatten(),
        databases: databases?,
        from: from?,
        login_role: login_role?,
        max_session: max_session.flatten(),
        may_act_as: may_act_as.flatten(),
        name: name?,
        on_svid_expiry: on_svid_expiry.flatten().unwrap_or_default(),
        replication: replication.flatten().unwrap_or_default(),
        settings,
    };
    rule.sort_sets();
    Some(Addressed {
        rule,
        to: to?,
        place: place?,
        allow_privileged: privileged,
        anyone: keys.get("from").and_then(|node| reader.every_id(node)),
        anywhere: keys.get("to").and_then(|node| reader.every_id(node)),
        db_role: None,
    })
}

impl Reader<'_> {
    /// Whether the rule says that it means a privileged role.
    pub(crate) fn allow_privileged(&mut self, keys: &Keys<'_>) -> bool {
        let node = keys.get("allow_privileged");
        node.and_then(|node| self.boolean(node, "allow_privileged")).unwrap_or(false)
    }

    /// A Postgres role, which mustn't be a privileged one unless the rule says that it means it.
    pub(crate) fn role(
        &mut self,
        node: &Node<'_>,
        what: &str,
        privileged: bool,
    ) -> Option<RoleName> {
        let role = self.parsed(node, what, RoleName::try_from)?;
        let text = role.as_str();
        if !privileged && (text == "postgres" || text.starts_with("pg_")) {
            self.fault(Fault::new(
                span_of(node),
                format!("`{what}` names the privileged role `{text}`"),
                "may do more than a workload should",
                "name a role of your own; a rule that means it says `allow_privileged: true`",
            ));
            return None;
        }
        Some(role)
    }

    fn settings(&mut self, node: &Node<'_>) -> BTreeMap<ParameterName, String> {
        let mut settings = BTreeMap::new();
        // Postgres compares them without case.
        let mut seen = BTreeSet::new();
        let Value::Map(map) = &node.value else {
            let help = "accepted: settings and their values, such as `statement_timeout: 5s`";
            self.wrong_kind(node, "settings", "a mapping", help);
            return settings;
        };
        for (key, value) in map {
            let name = self.parsed(key, "settings", ParameterName::try_from);
            let text = self.plain(value, "settings");
            let (Some(name), Some(text)) = (name, text) else { continue };
            if text.contains('\0') {
                let message = format!("setting `{name}` has a NUL");
                self.fault(Fault::new(
                    span_of(value),
                    message,
                    "not accepted",
                    "a text without NUL is accepted",
                ));
            } else if !seen.insert(name.as_str().to_ascii_lowercase()) {
                let message = format!("setting `{name}` stands twice");
                self.fault(Fault::new(span_of(key), message, "here again", "name each once"));
            } else {
                settings.insert(name, text);
            }
        }
        settings
    }
}
