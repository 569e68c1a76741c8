//! For information: the same cases through Envoy's own RBAC filter, with the policy as an operator would write it there. A
//! table tells where it differs.

mod report;

use std::fmt::Write as _;

use e2e::{
    bootstrap::holders,
    wire::{Answer, Ingress, Protocol},
};
use report::Report;
use serde_json::{Value, json};
use wasm_host::HttpFilter;

use crate::{
    envoy,
    files::{self, Corpus},
    filter_module,
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

#[tokio::test(flavor = "multi_thread")]
async fn a_table_tells_where_native_rbac_differs_and_why() {
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
    let mut report =
        Report::new(HttpFilter::start(&filter_module(), corpus.slice.as_bytes()).unwrap());
    for (family, cases) in &corpus.families {
        for protocol in [Protocol::H1, Protocol::H2] {
            for (case, answer) in envoy::answers(&ingress, None, protocol, cases.iter()).await {
                report.note(family, case, matches!(answer, Answer::Forwarded(_)));
            }
        }
    }
    files::is_page_of_the_book("corpus-vs-native-rbac.md", &report.page());
}
