//! The book's reference of the configuration says what the schema says. `BLESS=1` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const OPENING: &str = "\
# The server's configuration, key by key

Made from the JSON Schema that `sds-server schema` prints. The configuration is one YAML file; unknown
keys are errors everywhere. `sds-server check FILE` checks it, and the policy and the code that it names.
Editors check it as you type where its first line is
`# yaml-language-server: $schema=sds-server.schema.json`.

A key that is live may change while the server runs: the file is watched, and SIGHUP reads it at once. A
file that changes another key, or that has a fault, changes nothing; the log and `/readyz` say why.

The smallest configuration:

```yaml
source: { workload_api: { socket: unix:///run/spire/agent.sock } }
listen: { path: /run/signet/sds.sock }
```
";

#[test]
fn the_reference_is_up_to_date() {
    let output = Command::new(env!("CARGO_BIN_EXE_sds-server")).arg("schema").output();
    let output = output.expect("the program starts");
    assert!(output.status.success());
    let schema: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let mut page = OPENING.to_owned();
    let mut reference = Reference { schema: &schema, page: &mut page, forms: BTreeMap::new() };
    reference.object(&schema, "");
    reference.forms();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &page).expect("written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, page, "stale; run this test with BLESS=1");
}

struct Reference<'a> {
    schema: &'a Value,
    page: &'a mut String,
    /// Texts with a form of their own: name and meaning.
    forms: BTreeMap<String, String>,
}

impl<'a> Reference<'a> {
    /// A chapter for an object at `path`, and one for each object below it.
    fn object(&mut self, object: &'a Value, path: &str) {
        let title = if path.is_empty() { "The file".to_owned() } else { format!("`{path}`") };
        write!(self.page, "\n## {title}\n\n").expect("a text");
        if let Some(description) = object["description"].as_str().filter(|_| !path.is_empty()) {
            write!(self.page, "{description}\n\n").expect("a text");
        }
        self.page.push_str("| key | accepted | default | live | meaning |\n");
        self.page.push_str("| --- | --- | --- | --- | --- |\n");
        let required: Vec<_> = object["required"].as_array().into_iter().flatten().collect();
        let properties = object["properties"].as_object().expect("an object");
        for (key, property) in properties {
            let must = required.iter().any(|name| *name == key);
            let meaning =
                property["description"].as_str().unwrap_or_else(|| panic!("{path}.{key}"));
            let live = if property["x-live"] == true { "yes" } else { "" };
            let accepted = self.accepted(property);
            let default = default(property, must);
            let row = [format!("`{key}`"), accepted, default, live.to_owned(), meaning.to_owned()];
            let row = row.map(|cell| cell.replace('|', "\\|").replace("\n\n", "<br>"));
            writeln!(self.page, "| {} |", row.join(" | ")).expect("a text");
        }
        for (key, property) in properties {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            self.below(property, &path);
        }
    }

    fn below(&mut self, property: &'a Value, path: &str) {
        let (_, schema) = self.resolved(property);
        if let Some(choices) = schema["oneOf"].as_array() {
            for choice in choices.iter().filter(|choice| choice["properties"].is_object()) {
                for (key, property) in choice["properties"].as_object().into_iter().flatten() {
                    self.below(property, &format!("{path}.{key}"));
                }
            }
        } else if schema["properties"].is_object() {
            // The second filter is what the first is.
            if !self.page.contains(&format!("\n## `{}`\n", path.replace("postgres", "http"))) {
                self.object(schema, path);
            }
        } else if schema["items"].is_object() {
            self.below(&schema["items"], &format!("{path}[]"));
        }
    }

    /// What a `$ref` names, and the name; of something or nothing, the something.
    fn resolved(&self, schema: &'a Value) -> (Option<&'a str>, &'a Value) {
        let root: &'a Value = self.schema;
        if let Some(name) = schema["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
            return (Some(name), &root["$defs"][name]);
        }
        let choices = schema["anyOf"].as_array().into_iter().flatten();
        match choices.filter(|choice| choice["type"] != "null").collect::<Vec<_>>()[..] {
            [only] => self.resolved(only),
            _ => (None, schema),
        }
    }

    /// The texts that have a form of their own.
    fn forms(&mut self) {
        self.page.push_str("\n## Forms\n\n| form | meaning |\n| --- | --- |\n");
        for (form, meaning) in &self.forms {
            writeln!(self.page, "| {form} | {} |", meaning.replace('|', "\\|")).expect("a text");
        }
    }

    /// What values a schema accepts, in words.
    fn accepted(&mut self, property: &'a Value) -> String {
        let (name, schema) = self.resolved(property);
        if let (Some(name), "string") = (name, schema["type"].as_str().unwrap_or_default()) {
            let name = in_words(name);
            let meaning = schema["description"].as_str().unwrap_or_default().to_owned();
            self.forms.insert(name.clone(), meaning);
            return name;
        }
        if let Some(choices) = schema["oneOf"].as_array() {
            let words = choices.iter().flat_map(|choice| match choice["properties"].as_object() {
                Some(keys) => keys.keys().map(String::as_str).collect(),
                None => vec![choice["const"].as_str().unwrap_or_default()],
            });
            return format!("one of `{}`", words.collect::<Vec<_>>().join("`, `"));
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => {
                kinds.iter().find(|kind| *kind != "null").unwrap_or(&Value::Null)
            }
            kind => kind,
        };
        match kind.as_str().unwrap_or_default() {
            "string" => "a text".to_owned(),
            "boolean" => "`true`, `false`".to_owned(),
            "integer" => "a number".to_owned(),
            "array" => format!("a list: {}", self.accepted(&schema["items"])),
            "object" if schema["properties"].is_object() => "keys, see below".to_owned(),
            "object" => {
                format!("names, each with {}", self.accepted(&schema["additionalProperties"]))
            }
            other => panic!("`{other}` has no words: {schema}"),
        }
    }
}

/// `UnixAddress` as `unix address`.
fn in_words(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

fn default(property: &Value, must: bool) -> String {
    match &property["default"] {
        _ if must => "required".to_owned(),
        Value::Null | Value::Object(_) => String::new(),
        Value::Array(values) if values.is_empty() => "none".to_owned(),
        Value::String(text) => format!("`{text}`"),
        value => format!("`{value}`"),
    }
}
