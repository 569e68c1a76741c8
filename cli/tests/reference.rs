//! The book's reference of the policy language says what the schema says. `BLESS=1` writes it anew.

mod command;

use std::fmt::Write;
use std::path::Path;

use command::signet;
use serde_json::{Map, Value};

const CHAPTERS: &[(&str, Option<&str>)] = &[
    ("The document", None),
    ("A rule of `http`", Some("http_rule")),
    ("A rule of `postgres`", Some("postgres_rule")),
    ("A case of `tests`", Some("test")),
];

/// The forms that several keys share.
const FORMS: &[&str] =
    &["entries", "conditions", "condition", "duration", "role", "rule_name", "trust_domain"];

#[test]
fn the_reference_is_up_to_date() {
    let run = signet(&["policy", "schema"], "");
    assert_eq!(run.code, 0, "{}", run.err);
    let schema = run.json();
    let expected = reference(&schema);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/policy-reference.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "stale; run this test with BLESS=1");
}

fn reference(schema: &Value) -> String {
    let mut page = String::from(
        "# The mesh policy, key by key\n\nMade from the JSON Schema that `signet policy schema` prints. \
         Unknown keys are errors everywhere.\n",
    );
    for (title, definition) in CHAPTERS {
        let object = definition.map_or(schema, |name| &schema["$defs"][name]);
        writeln!(page, "\n## {title}\n\n| key | accepted | meaning |\n| --- | --- | --- |")
            .unwrap();
        let required: Vec<_> = object["required"].as_array().into_iter().flatten().collect();
        let properties = object["properties"].as_object().unwrap();
        for (key, value) in in_order(properties, &required) {
            let must = if required.iter().any(|name| *name == key) { " (required)" } else { "" };
            let meaning = value["description"].as_str().unwrap_or_else(|| panic!("{title}: {key}"));
            let accepted = accepted(value);
            writeln!(page, "| `{key}`{must} | {} | {} |", cell(&accepted), cell(meaning)).unwrap();
        }
    }
    page.push_str("\n## Forms\n\n| form | accepted | meaning |\n| --- | --- | --- |\n");
    for form in FORMS {
        let value = &schema["$defs"][form];
        let meaning = value["description"].as_str().unwrap_or_default();
        writeln!(page, "| {form} | {} | {} |", cell(&accepted(value)), cell(meaning)).unwrap();
    }
    page
}

/// The required keys as the schema orders them, then the others by name.
fn in_order<'s>(
    properties: &'s Map<String, Value>,
    required: &[&Value],
) -> Vec<(&'s str, &'s Value)> {
    let place = |key: &str| required.iter().position(|name| *name == key).unwrap_or(usize::MAX);
    let mut keys: Vec<_> = properties.iter().map(|(key, value)| (key.as_str(), value)).collect();
    keys.sort_by_key(|(key, _)| (place(key), *key));
    keys
}

/// What values a schema accepts, in words.
fn accepted(schema: &Value) -> String {
    let quoted = |value: &Value| format!("`{}`", value.to_string().trim_matches('"'));
    if let Some(name) = schema["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
        return match name {
            "plain" => "a text, number or boolean".to_owned(),
            "values" => "a value, or a list of them".to_owned(),
            "pairs" => "names and values".to_owned(),
            name => name.replace('_', " "),
        };
    }
    if let Some(value) = schema.get("const") {
        return quoted(value);
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(quoted).collect::<Vec<_>>().join(", ");
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        return choices.iter().map(accepted).collect::<Vec<_>>().join("; or ");
    }
    match &schema["type"] {
        Value::Array(kinds) => {
            let kinds = kinds.iter().filter_map(Value::as_str);
            kinds.map(|kind| kind.replace("string", "a text")).collect::<Vec<_>>().join(" or ")
        }
        kind => match kind.as_str().unwrap_or_default() {
            "array" => format!("a list: {}", accepted(&schema["items"])),
            "integer" => format!("{} to {}", schema["minimum"], schema["maximum"]),
            "boolean" => "`true`, `false`".to_owned(),
            "object" => match schema["properties"].as_object() {
                Some(keys) => {
                    let keys: Vec<_> = in_order(keys, &[])
                        .into_iter()
                        .map(|(key, value)| format!("`{key}`: {}", accepted(value)))
                        .collect();
                    format!("one of {}", keys.join(", "))
                }
                None => format!("names, each with {}", accepted(&schema["additionalProperties"])),
            },
            _ => schema["pattern"]
                .as_str()
                .map_or("a text".to_owned(), |pattern| format!("a text like `{pattern}`")),
        },
    }
}

/// A text inside a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
