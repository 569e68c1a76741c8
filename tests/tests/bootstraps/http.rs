//! HTTP: what was asked is what is decided.

use serde_json::{Value, json};

use crate::{
    Rule,
    read::{expect, ingress, items, name, network_filters, set, typed},
};

pub(crate) const RULES: &[Rule] = &[
    Rule {
        name: "paths leave as they came",
        check: paths_as_they_came,
        break_it: |configuration| set(configuration, "normalize_path", &true.into()),
    },
    Rule {
        name: "header names with underscores are refused",
        check: underscores,
        break_it: |configuration| {
            set(configuration, "headers_with_underscores_action", &"ALLOW".into());
        },
    },
    Rule {
        name: "nothing changes a request before our filter decides about it",
        check: ours_is_first,
        break_it: |configuration| {
            set(configuration, "http_filters", &json!([{ "name": "envoy.filters.http.lua" }]));
        },
    },
];

fn paths_as_they_came(configuration: &Value) -> Result<(), String> {
    for http in typed(configuration, "HttpConnectionManager") {
        expect(http["normalize_path"] == false, &http["normalize_path"])?;
        expect(http["merge_slashes"] == false, &http["merge_slashes"])?;
        let escaped = &http["path_with_escaped_slashes_action"];
        expect(escaped == "KEEP_UNCHANGED", escaped)?;
    }
    Ok(())
}

fn underscores(configuration: &Value) -> Result<(), String> {
    for http in typed(configuration, "HttpConnectionManager") {
        let action = &http["common_http_protocol_options"]["headers_with_underscores_action"];
        expect(action == "REJECT_REQUEST", action)?;
    }
    Ok(())
}

fn ours_is_first(configuration: &Value) -> Result<(), String> {
    let Some(ingress) = ingress(configuration) else { return Ok(()) };
    let managers = network_filters(ingress).iter().map(|filter| &filter["typed_config"]);
    for http in managers.filter(|config| config.get("http_filters").is_some()) {
        let first = items(&http["http_filters"]).first().map(name);
        expect(first == Some("signet.http"), format_args!("{first:?}"))?;
    }
    Ok(())
}
