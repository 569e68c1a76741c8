use std::collections::BTreeSet;
use std::time::Duration;

use super::Metrics;

/// Metrics with every series that does not need an identity.
fn all() -> Metrics {
    let metrics = Metrics::default();
    metrics.count_svid_update("served");
    metrics.count_jwt_svid_update("fetched");
    metrics.count_reconnect("closed");
    metrics.count_push("secret");
    metrics.count_ack("secret", Duration::from_millis(3));
    metrics.count_nack("secret");
    metrics.count_unanswered("secret", "name");
    metrics.count_rejected("uid");
    metrics.count_policy_load("accepted");
    metrics.count_config_load("accepted");
    metrics.count_withdrawn_slice();
    metrics.show_policy("digest");
    drop(metrics.open_stream("secret", "unix"));
    metrics
}

/// What the filters count, inside Envoy, has other tests.
fn is_of_filters(name: &str) -> bool {
    ["http_", "postgres_", "rule", "reason"].iter().any(|start| name.starts_with(start))
}

#[test]
fn the_book_tells_of_every_metric_and_of_no_other() {
    let book = include_str!("../../../docs/metrics.md");
    let told: BTreeSet<_> = book
        .lines()
        .filter_map(|line| line.strip_prefix("| `signet_")?.split('`').next())
        .map(|name| name.trim_end_matches("_total"))
        .filter(|name| !is_of_filters(name))
        .collect();
    let rendered = all().render();
    let mut rendered: BTreeSet<_> = rendered
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE signet_")?.split(' ').next())
        .collect();
    // These need an identity to have a series.
    rendered.extend(["svid_expiry_timestamp_seconds", "bundle_expiry_timestamp_seconds"]);
    let source = include_str!("../metrics.rs");
    // All but one are registered by `Adder::one`, which registers too.
    let registered = source.matches(".one(").count() + source.matches(".register(").count() - 1;
    assert_eq!(rendered.len(), registered, "`all` has a series of each");
    assert_eq!(told, rendered);
}

/// Alerts and examples name only what there is, with the endings that its kind gives it.
#[test]
fn no_page_of_the_book_names_another_metric() {
    let rendered = all().render();
    let types = rendered.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    // The prefix alone, and two that need an identity to have a series.
    let mut known = BTreeSet::from(
        ["", "svid_expiry_timestamp_seconds", "bundle_expiry_timestamp_seconds"]
            .map(|name| format!("signet_{name}")),
    );
    for (name, kind) in types.filter_map(|line| line.split_once(' ')) {
        match kind {
            "counter" => drop(known.insert(format!("{name}_total"))),
            "histogram" => {
                known.extend(["bucket", "sum", "count"].map(|end| format!("{name}_{end}")));
                known.insert(name.to_owned());
            }
            _ => drop(known.insert(name.to_owned())),
        }
    }
    let pages = [
        include_str!("../../../docs/metrics.md"),
        include_str!("../../../docs/node-agent.md"),
        include_str!("../../../docs/troubleshooting.md"),
        include_str!("../../../docs/sidecar.md"),
    ];
    for page in pages {
        for rest in page.split("signet_").skip(1) {
            let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_');
            let name = format!("signet_{}", &rest[..end.unwrap_or(rest.len())]);
            assert!(is_of_filters(rest) || known.contains(&name), "{name}");
        }
    }
}

#[test]
fn a_policy_that_is_gone_has_no_series() {
    let metrics = Metrics::default();
    metrics.show_policy("first");
    metrics.show_policy("second");
    let page = metrics.render();
    assert!(page.contains("digest=\"second\"") && !page.contains("digest=\"first\""), "{page}");
}

#[test]
fn every_metric_has_a_help_text() {
    let page = all().render();
    let types = page.lines().filter(|line| line.starts_with("# TYPE"));
    let helps = page.lines().filter_map(|line| line.strip_prefix("# HELP "));
    assert_eq!(types.count(), helps.clone().count());
    for help in helps {
        assert!(help.split(' ').count() > 3, "{help}");
    }
}
