//! The schema accepts what the reader accepts, as far as a schema can say, and refuses unknown keys.

use std::path::Path;

use serde_json::Value;
use signet_policy_document::{PolicyDocument, SCHEMA};

/// Why a value doesn't fit a schema, as far as our schema uses the language.
fn misfit(root: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root.pointer(reference.strip_prefix('#').unwrap()).expect(reference);
        if let Some(found) = misfit(root, target, value, at) {
            return Some(found);
        }
    }
    let is = |kind: &Value| match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other}"),
    };
    let fits_type = match &schema["type"] {
        Value::Null => true,
        Value::Array(kinds) => kinds.iter().any(is),
        kind => is(kind),
    };
    let fits_enum = schema["enum"].as_array().is_none_or(|values| values.contains(value));
    let fits_const = schema.get("const").is_none_or(|found| found == value);
    if !(fits_type && fits_enum && fits_const) {
        return Some(format!("{at} is {value}"));
    }
    if let Some(choices) = schema["anyOf"].as_array()
        && choices.iter().all(|choice| misfit(root, choice, value, at).is_some())
    {
        return Some(format!("{at} fits no choice"));
    }
    if let Some(items) = value.as_array() {
        let few = schema["minItems"].as_u64().is_some_and(|least| (items.len() as u64) < least);
        let mut each = items.iter().enumerate();
        let item = |(i, item)| misfit(root, schema.get("items")?, item, &format!("{at}/{i}"));
        return few.then(|| format!("{at} is empty")).or_else(|| each.find_map(item));
    }
    let object = value.as_object()?;
    let required = schema["required"].as_array().into_iter().flatten();
    let missing = required.map(|key| key.as_str().unwrap()).find(|key| !object.contains_key(*key));
    if let Some(key) = missing {
        return Some(format!("{at} has no {key}"));
    }
    object.iter().find_map(|(key, value)| {
        let at = format!("{at}/{key}");
        match schema["properties"].get(key).unwrap_or(&schema["additionalProperties"]) {
            Value::Bool(false) => Some(format!("{at} is unknown")),
            Value::Null | Value::Bool(true) => None,
            schema => misfit(root, schema, value, &at),
        }
    })
}

fn check(text: &str) -> Option<String> {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let value: Value = serde_saphyr::from_str(text).unwrap();
    misfit(&schema, &schema, &value, "")
}

#[test]
fn the_examples_fit() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/policies");
    let mut count = 0;
    for entry in std::fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        if let Err(faults) = PolicyDocument::parse("p.yaml", &text) {
            panic!("{}: {:?}", path.display(), faults.lines().collect::<Vec<_>>());
        }
        assert_eq!(check(&text), None, "{}", path.display());
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn what_the_reader_refuses_by_shape_the_schema_refuses() {
    let head = "version: 1\ntrust_domain: a\n";
    for (text, told) in [
        ("htpp: []", "/htpp is unknown"),
        ("http: {}", "/http is {}"),
        ("http: [{ name: r, from: [a], to: [a], form: [a] }]", "/http/0/form is unknown"),
        ("http: [{ name: r, from: [/a] }]", "/http/0 has no to"),
        ("http: [{ name: r, from: [], to: [/a] }]", "/http/0/from is empty"),
        ("http: [{ name: r, from: [/a], to: [/a], effect: Deny }]", "/http/0/effect is \"Deny\""),
        (
            "http: [{ name: r, from: [/a], to: [/a], jwt: { a: { prefix: x } } }]",
            "/http/0/jwt/a fits no choice",
        ),
        (
            "postgres: [{ name: r, from: [/a], to: [/a], databases: [d] }]",
            "/postgres/0 has no login_role",
        ),
        ("tests: [{ from: /a, to: /a, expect: allowed }]", "/tests/0/expect is \"allowed\""),
    ] {
        let text = format!("{head}{text}\n");
        assert_eq!(check(&text).as_deref(), Some(told), "{text}");
        assert!(PolicyDocument::parse("p.yaml", &text).is_err(), "{text}");
    }
    assert_eq!(check("version: 2\ntrust_domain: a"), Some("/version is 2".to_owned()));
    assert_eq!(check(head), None);
}
