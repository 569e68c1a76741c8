//! Conditions on headers and on the claims of a JWT.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Display;

use signet_policy::{HeaderCondition, NameError};

use super::Reader;
use crate::fault::Fault;
use crate::node::{Node, Value, span_of};

impl Reader<'_> {
    /// Reads names and a condition for each. `what` is the key: `headers` or `jwt`.
    pub(crate) fn conditions<N: Ord + Display + TryFrom<String, Error = NameError>>(
        &mut self,
        node: &Node<'_>,
        what: &str,
    ) -> BTreeMap<N, HeaderCondition> {
        let mut conditions = BTreeMap::new();
        let Value::Map(map) = &node.value else {
            let help = "accepted: names and conditions, such as `x-tenant: acme`";
            self.wrong_kind(node, what, "a mapping", help);
            return conditions;
        };
        if map.is_empty() {
            let help = "name at least one, or leave the key out";
            self.fault(Fault::new(
                span_of(node),
                format!("`{what}` is empty"),
                "says nothing",
                help,
            ));
        }
        for (key, value) in map {
            let name = self.parsed(key, what, N::try_from);
            let condition = self.condition(value, what);
            let (Some(name), Some(condition)) = (name, condition) else { continue };
            match conditions.entry(name) {
                Entry::Vacant(entry) => {
                    entry.insert(condition);
                }
                Entry::Occupied(entry) => {
                    let message = format!("`{what}` names `{}` twice", entry.key());
                    self.fault(Fault::new(span_of(key), message, "here again", "name each once"));
                }
            }
        }
        conditions
    }

    /// One condition: a value, a list of values, or a mapping that says which kind.
    fn condition(&mut self, node: &Node<'_>, what: &str) -> Option<HeaderCondition> {
        const CONDITION: &str = "a condition on a header or claim";
        match &node.value {
            Value::Map(_) => {}
            Value::List(_) => {
                let values = self.list(node, what, |reader, item| reader.plain(item, what))?;
                return Some(HeaderCondition::Equals(values));
            }
            _ => return Some(HeaderCondition::Equals(vec![self.plain(node, what)?])),
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
                "a condition says none or more than one thing",
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
                _ => self.condition(value, what),
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
