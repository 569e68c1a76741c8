//! For information: the same cases through Envoy's own RBAC filter, with the policy as an operator would write it there. A
//! table tells where it differs.

use std::fmt::Write as _;

use e2e::{
    bootstrap::holders,
    wire::{Answer, Ingress, Protocol},
};
use serde_json::{Value, json};

use crate::{
    case::Case,
    envoy,
    files::{self, Corpus},
};

/// Both RBAC filters, denies before allows, in place of ours.
fn filters(slice: &Value) -> Value {
    let policies = |effect: &str| -> Value {
        let rules = slice["http"].as_array().unwrap().iter();
        let enforced = rules.filter(|rule| rule["mode"] != "shadow");
        let of_effect = enforced.filter(|rule| (rule["effect"] == "deny") == (effect == "DENY"));
        let named = of_effect.map(|rule| (rule["name"].as_str().unwrap().to_owned(), policy(rule)));
        Value::Object(named.collect())
    };
    let rbac = |action: &str| {
        json!({
            "name": format!("rbac.{action}"),
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
                "rules": { "action": action, "policies": policies(action) },
            },
        })
    };
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
    });
    json!([rbac("DENY"), rbac("ALLOW"), router])
}

fn policy(rule: &Value) -> Value {
    let any_of = |key: &str, one: &dyn Fn(&str) -> Value| {
        let list = rule.get(key)?.as_array()?;
        let rules: Vec<Value> = list.iter().map(|item| one(item.as_str().unwrap())).collect();
        Some(json!({ "or_rules": { "rules": rules } }))
    };
    let header =
        |name: &str, matcher: Value| json!({ "header": { "name": name, "string_match": matcher } });
    let mut all = vec![json!({ "any": true })];
    all.extend(any_of("methods", &|method| header(":method", json!({ "exact": method }))));
    all.extend(any_of("paths", &|pattern| json!({ "url_path": { "path": path(pattern) } })));
    all.extend(any_of("hosts", &|host| {
        header(
            ":authority",
            match host.strip_prefix('*') {
                Some(suffix) => json!({ "suffix": suffix }),
                None => json!({ "exact": host }),
            },
        )
    }));
    for (name, condition) in rule["headers"].as_object().into_iter().flatten() {
        all.push(match condition["equals"].as_array() {
            Some(values) => {
                let rules: Vec<Value> =
                    values.iter().map(|value| header(name, json!({ "exact": value }))).collect();
                json!({ "or_rules": { "rules": rules } })
            }
            None => json!({ "header": { "name": name, "present_match": condition == "present" } }),
        });
    }
    let principals: Vec<Value> =
        rule["from"].as_array().unwrap().iter().map(|id| principal(id.as_str().unwrap())).collect();
    json!({ "permissions": [{ "and_rules": { "rules": all } }], "principals": principals })
}

fn path(pattern: &str) -> Value {
    if !pattern.contains(['*', '{']) || pattern == "*" {
        return json!({ "exact": escaped(pattern) });
    }
    let mut regex = String::new();
    for segment in pattern.trim_start_matches('/').split('/') {
        match segment {
            "**" => regex += "(/.*)?",
            "*" => regex += "/[^/]+",
            name if name.starts_with('{') => regex += "/[^/]+",
            literal => {
                regex.push('/');
                regex += &escaped(literal).replace('.', "\\.");
            }
        }
    }
    json!({ "safe_regex": { "regex": regex } })
}

/// As a client would send it.
fn escaped(literal: &str) -> String {
    let mut text = String::new();
    for octet in literal.bytes() {
        match octet {
            b' ' | b'%' | 0x80.. => {
                let _ = write!(text, "%{octet:02X}");
            }
            octet => text.push(char::from(octet)),
        }
    }
    text
}

fn principal(id: &str) -> Value {
    let name = match id {
        "**" => return json!({ "authenticated": {} }),
        id if id.contains('*') => {
            let regex = id.replace('.', "\\.").replace("**", ".+").replace('*', "[^/]+");
            json!({ "safe_regex": { "regex": regex } })
        }
        id => json!({ "exact": id }),
    };
    json!({ "authenticated": { "principal_name": name } })
}

/// What became of the cases of one family.
#[derive(Default)]
struct Row {
    same: usize,
    /// Forwarded, though the policy does not allow it.
    too_much: Vec<Case>,
    /// Stopped, though the policy allows it.
    too_little: Vec<Case>,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_tells_where_native_rbac_differs() {
    let corpus = Corpus::read("main");
    let slice: Value = serde_json::from_str(&corpus.slice).unwrap();
    let ingress = Ingress::start(&corpus.policy, |configuration| {
        holders(configuration, "stat_prefix", &mut |manager| {
            if manager["stat_prefix"] == "ingress" {
                manager["http_filters"] = filters(&slice);
            }
        });
    })
    .await
    .unwrap();
    let mut rows = Vec::new();
    for (family, cases) in &corpus.families {
        let mut row = Row::default();
        for protocol in [Protocol::H1, Protocol::H2] {
            for (case, answer) in envoy::answers(&ingress, None, protocol, cases.iter()).await {
                let forwarded = matches!(answer, Answer::Forwarded(_));
                match (forwarded, case.expect == "allow" && !case.envoy_stops) {
                    (true, false) => row.too_much.push(case.clone()),
                    (false, true) => row.too_little.push(case.clone()),
                    _ => row.same += 1,
                }
            }
        }
        rows.push((family.clone(), row));
    }
    let table = table(&rows);
    println!("{table}");
    files::write_report(&table);
    // A policy that RBAC enforced to the letter would make this comparison idle.
    assert!(rows.iter().any(|(_, row)| !row.too_much.is_empty()));
}

fn table(rows: &[(String, Row)]) -> String {
    let mut text = String::from(
        "# The corpus through Envoy's native RBAC\n\n\
         For information: what Envoy 1.40's own RBAC filter makes of the requests in `tests/corpus/`, with the policy of \
         `main` written for it\nas an operator would (exact strings and regular expressions; denies first), the same bootstrap, \
         no normalization. Requests over HTTP/1.1 and\nHTTP/2 count apart. Roles are not compared: RBAC has none to tell.\n\n\
         | family | as the policy says | forwarded, but not allowed | stopped, but allowed |\n| --- | ---: | ---: | ---: |\n",
    );
    for (family, row) in rows {
        let (much, little) = (row.too_much.len(), row.too_little.len());
        let _ = writeln!(text, "| {family} | {} | {much} | {little} |", row.same);
    }
    text += "\n## Examples\n";
    for (title, pick) in [
        ("Forwarded, but not allowed", (|row| &row.too_much) as fn(&Row) -> &Vec<Case>),
        ("Stopped, but allowed", |row| &row.too_little),
    ] {
        let _ = writeln!(text, "\n{title}:\n");
        for (family, row) in rows {
            let mut cases = pick(row).clone();
            cases.dedup();
            let step = cases.len().div_ceil(6).max(1);
            for case in cases.iter().step_by(step) {
                let _ = writeln!(text, "- {family}: `{}`", case.write());
            }
        }
    }
    text += "\nWritten by `SIGNET_CORPUS_WRITE=1 cargo test -p e2e --test corpus native_rbac`.\n";
    text
}
