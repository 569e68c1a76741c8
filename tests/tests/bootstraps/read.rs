//! Reading an Envoy configuration.

use e2e::bootstrap::holders;
use serde_json::Value;

/// Everything of the configuration that has this `@type`, told by its last part.
pub(crate) fn typed<'a>(value: &'a Value, kind: &str) -> Vec<&'a Value> {
    let mut found = Vec::new();
    walk(value, &mut |part| {
        let name = part["@type"].as_str().and_then(|name| name.rsplit('.').next());
        if name == Some(kind) {
            found.push(part);
        }
    });
    found
}

/// Every value under this key.
pub(crate) fn under<'a>(value: &'a Value, key: &str) -> Vec<&'a Value> {
    let mut found = Vec::new();
    walk(value, &mut |part| found.extend(part.get(key)));
    found
}

fn walk<'a>(value: &'a Value, visit: &mut impl FnMut(&'a Value)) {
    visit(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk(item, visit)),
        Value::Object(fields) => fields.values().for_each(|field| walk(field, visit)),
        _ => {}
    }
}

pub(crate) fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn listeners(configuration: &Value) -> &[Value] {
    items(&configuration["static_resources"]["listeners"])
}

pub(crate) fn clusters(configuration: &Value) -> &[Value] {
    items(&configuration["static_resources"]["clusters"])
}

/// The listener that takes mTLS, where there is one.
pub(crate) fn ingress(configuration: &Value) -> Option<&Value> {
    listeners(configuration).iter().find(|listener| name(listener) == "ingress")
}

/// The network filters of a listener.
pub(crate) fn network_filters(listener: &Value) -> &[Value] {
    items(&listener["filter_chains"][0]["filters"])
}

pub(crate) fn name(value: &Value) -> &str {
    value["name"].as_str().unwrap_or_default()
}

/// An error that shows what was found, unless it is as it should be.
pub(crate) fn expect(right: bool, found: impl std::fmt::Display) -> Result<(), String> {
    if right { Ok(()) } else { Err(format!("found {found}")) }
}

/// Takes `key` away wherever it stands.
pub(crate) fn remove(configuration: &mut Value, key: &str) {
    holders(configuration, key, &mut |holder| {
        holder.as_object_mut().map(|fields| fields.remove(key));
    });
}

/// Sets `key` wherever it stands.
pub(crate) fn set(configuration: &mut Value, key: &str, value: &Value) {
    holders(configuration, key, &mut |holder| holder[key] = value.clone());
}

/// Renames `key` wherever it stands.
pub(crate) fn rename(configuration: &mut Value, key: &str, other: &str) {
    holders(configuration, key, &mut |holder| {
        if let Some(fields) = holder.as_object_mut()
            && let Some(value) = fields.remove(key)
        {
            fields.insert(other.to_owned(), value);
        }
    });
}
