//! The JSON Schema of the configuration, made from the types that read it, their comments and their
//! defaults.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Config, LIVE_KEYS};

/// The schema (JSON Schema 2020-12). Keys that may change while the server runs have
/// `"x-live": true`.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(Config).to_value();
    unwrap_lines(&mut schema);
    for key in LIVE_KEYS {
        mark_live(&mut schema, key);
    }
    schema
}

/// Marks the property at this path of keys. Every key of [`LIVE_KEYS`] has one; a test says so.
fn mark_live(schema: &mut Value, key: &str) {
    let mut place = String::new();
    let mut name = key;
    if let Some((above, last)) = key.rsplit_once('.') {
        name = last;
        for key in above.split('.') {
            place = definition(&schema.pointer(&place).unwrap_or(&Value::Null)["properties"][key]);
        }
    }
    if let Some(property) = schema.pointer_mut(&format!("{place}/properties/{name}"))
        && let Some(property) = property.as_object_mut()
    {
        property.insert("x-live".into(), true.into());
    }
}

/// The pointer to what a property refers to, itself or as one of its choices.
fn definition(property: &Value) -> String {
    let choices = property["anyOf"].as_array().into_iter().flatten();
    let mut named = std::iter::once(property).chain(choices);
    let found = named.find_map(|choice| choice["$ref"].as_str()?.strip_prefix('#'));
    found.unwrap_or("/nowhere").to_owned()
}

/// Comments are wrapped at the width of the source; a description is one line a paragraph.
fn unwrap_lines(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                match value {
                    Value::String(text) if key == "description" => {
                        let paragraphs = text.split("\n\n").map(|text| text.replace('\n', " "));
                        *text = paragraphs.collect::<Vec<_>>().join("\n\n");
                    }
                    value => unwrap_lines(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(unwrap_lines),
        _ => {}
    }
}

// The policy's core knows no schemas: what it reads is told here once more, and a test compares.

/// What a denied peer is told.
#[derive(JsonSchema)]
#[schemars(rename = "DenialDetail")]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "for the schema only")]
pub(super) enum DenialDetailWords {
    /// The class of the denial.
    Class,
    /// The rule's name too.
    Rule,
}

/// Names of the headers that tell the API who called.
#[derive(JsonSchema, Serialize, Deserialize)]
#[schemars(rename = "HeaderNames")]
#[serde(deny_unknown_fields, default)]
pub(super) struct HeaderNameWords {
    /// The Postgres role of the call.
    db_role: String,
    /// The rule that allowed the call.
    rule: String,
    /// The caller's SPIFFE ID.
    spiffe_id: String,
}

impl Default for HeaderNameWords {
    fn default() -> Self {
        Self {
            db_role: "x-db-role".into(),
            rule: "x-signet-rule".into(),
            spiffe_id: "x-spiffe-id".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::schema;
    use crate::config::{Config, LIVE_KEYS};

    /// Keys of an object of the schema, sorted.
    fn told(schema: &Value, definition: &str) -> Vec<String> {
        let object = if definition.is_empty() { schema } else { &schema["$defs"][definition] };
        let keys = object["properties"].as_object().unwrap_or_else(|| panic!("{definition}"));
        keys.keys().cloned().collect()
    }

    /// Keys that the reader of the configuration names when it meets an unknown one, sorted.
    fn read(text: &str) -> Vec<String> {
        let fault = Config::parse(text).expect_err("an unknown key");
        let (_, expected) =
            fault.split_once("expected one of ").unwrap_or_else(|| panic!("{fault}"));
        let line = expected.lines().next().unwrap_or_default();
        let mut keys: Vec<_> = line.split(", ").map(str::to_owned).collect();
        keys.sort();
        keys
    }

    #[test]
    fn every_live_key_is_marked() {
        fn marks(value: &Value) -> usize {
            let own = usize::from(value["x-live"] == true);
            let below: usize = match value {
                Value::Object(object) => object.values().map(marks).sum(),
                Value::Array(values) => values.iter().map(marks).sum(),
                _ => 0,
            };
            own + below
        }
        assert_eq!(marks(&schema()), LIVE_KEYS.len());
    }

    #[test]
    fn the_schema_and_the_reader_know_the_same_keys() {
        let schema = schema();
        let filter = "filters: {http: {wasm: /w, sha256: x, headers: {zzz: 1}}}";
        for (definition, text) in [
            ("", "zzz: 1"),
            ("WorkloadApi", "source: {workload_api: {zzz: 1}}"),
            ("Broker", "source: {broker: {zzz: 1}}"),
            ("Delegated", "source: {delegated: {zzz: 1}}"),
            ("Listen", "listen: {zzz: 1}"),
            ("TcpListen", "listen: {tcp: {zzz: 1}}"),
            ("AllowedPeers", "listen: {tcp: {address: '[::1]:1', allow: [{zzz: 1}]}}"),
            ("Admin", "admin: {zzz: 1}"),
            ("Names", "names: {zzz: 1}"),
            ("DefaultSvid", "default_svid: {zzz: 1}"),
            ("Rotation", "rotation: {zzz: 1}"),
            ("PolicyFile", "policy: {zzz: 1}"),
            ("Filters", "filters: {zzz: 1}"),
            ("Filter", "filters: {http: {zzz: 1}}"),
            ("HeaderNames", &filter.replace("sha256: x", &format!("sha256: {}", "ab".repeat(32)))),
            ("Limits", "limits: {zzz: 1}"),
            ("Process", "process: {zzz: 1}"),
        ] {
            assert_eq!(told(&schema, definition), read(text), "{definition}");
        }
    }
}
