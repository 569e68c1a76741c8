//! The JSON Schema of a policy document, for editors. The reader decides: it knows more than a schema
//! can say.

/// The JSON Schema (2020-12) of a policy document.
pub const SCHEMA: &str = include_str!("schema.json");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::SCHEMA;
    use crate::{document, read};

    /// The schema has the keys that the reader has, and refuses all others.
    #[test]
    fn keys_are_those_that_are_read() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let of = |name: &str| &schema["$defs"][name];
        for (what, found, keys) in [
            ("a policy", &schema, document::KEYS),
            ("an HTTP rule", of("http_rule"), read::HTTP_KEYS),
            ("a Postgres rule", of("postgres_rule"), read::POSTGRES_KEYS),
            ("a test", of("test"), read::CASE_KEYS),
        ] {
            let properties = found["properties"].as_object().unwrap();
            let properties: BTreeSet<&str> = properties.keys().map(String::as_str).collect();
            assert_eq!(properties, keys.iter().copied().collect(), "{what}");
            assert_eq!(found["additionalProperties"], false, "{what}");
        }
    }
    #[test]
    fn methods_are_those_that_are_read() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let rule = &schema["$defs"]["http_rule"];
        assert_eq!(
            rule["properties"]["methods"]["items"]["enum"],
            serde_json::json!(read::METHODS)
        );
    }
}
