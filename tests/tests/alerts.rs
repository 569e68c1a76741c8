//! The alerts and queries in the book are PromQL, and ask for metrics and labels that the book tells of.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::path::Path;

use promql_parser::parser::{self, Expr, LabelModifier, VectorSelector};
use promql_parser::util::{ExprVisitor, parse_duration, walk_expr};
use serde::Deserialize;

/// What Prometheus itself adds to every series that it scrapes.
const ADDED: [&str; 2] = ["job", "instance"];

/// A file of alerting rules, as far as the book uses them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    alert: String,
    expr: String,
    #[serde(rename = "for")]
    pending: Option<String>,
}

fn chapters() -> Vec<String> {
    let book = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let files = std::fs::read_dir(book).expect("the book").map(|entry| entry.expect("a file"));
    let chapters = files.filter(|file| file.path().extension().is_some_and(|end| end == "md"));
    chapters.map(|file| std::fs::read_to_string(file.path()).expect("readable")).collect()
}

fn alerts() -> Vec<Rule> {
    let chapters = chapters();
    let blocks = chapters.iter().flat_map(|chapter| chapter.split("```yaml\n").skip(1));
    let blocks = blocks.filter_map(|rest| rest.split("```").next());
    let files = blocks.filter(|block| block.contains("expr:")).map(|block| {
        serde_saphyr::from_str::<Rules>(block).unwrap_or_else(|fault| panic!("{fault}\n{block}"))
    });
    let groups = files.flat_map(|file| file.groups);
    groups
        .flat_map(|group| {
            assert!(!group.name.is_empty());
            group.rules
        })
        .collect()
}

/// The labels of each series in the tables of metrics.
fn series() -> BTreeMap<String, BTreeSet<String>> {
    let mut series = BTreeMap::from([("up".to_owned(), BTreeSet::new())]);
    for line in include_str!("../../docs/metrics.md").lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, name, kind, labels, ..] = cells[..] else { continue };
        let Some(name) = name.strip_prefix('`').and_then(|name| name.strip_suffix('`')) else {
            continue;
        };
        let labels = labels.split(',').map(|label| label.trim().trim_matches('`'));
        let labels = labels.filter(|label| !label.is_empty()).map(str::to_owned);
        let labels: BTreeSet<String> = labels.chain(ADDED.map(str::to_owned)).collect();
        if kind == "histogram" {
            for ending in ["sum", "count"] {
                series.insert(format!("{name}_{ending}"), labels.clone());
            }
            let buckets = labels.iter().cloned().chain(["le".to_owned()]);
            series.insert(format!("{name}_bucket"), buckets.collect());
        } else {
            series.insert(name.to_owned(), labels);
        }
    }
    series.entry("up".into()).or_default().extend(ADDED.map(str::to_owned));
    series
}

/// What an expression asks for.
#[derive(Default)]
struct Asked {
    /// Names, and the labels that are compared with a value.
    series: Vec<(String, Vec<String>)>,
    /// Labels by which series are grouped and matched.
    grouped_by: Vec<String>,
}

impl Asked {
    fn by(expression: &str) -> Result<Self, String> {
        let mut asked = Self::default();
        let Ok(_) = walk_expr(&mut asked, &parser::parse(expression)?);
        Ok(asked)
    }

    fn select(&mut self, of: &VectorSelector) {
        let labels = of.matchers.matchers.iter().map(|matcher| matcher.name.clone());
        self.series.push((of.name.clone().unwrap_or_default(), labels.collect()));
    }

    fn group(&mut self, by: Option<&LabelModifier>) {
        self.grouped_by.extend(by.into_iter().flat_map(|by| by.labels().labels.clone()));
    }

    /// What there is not.
    fn unknown(&self, known: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
        let mut unknown = Vec::new();
        for (name, labels) in &self.series {
            let Some(of_series) = known.get(name) else {
                unknown.push(name.clone());
                continue;
            };
            let labels = labels.iter().chain(&self.grouped_by);
            let labels = labels.filter(|label| !of_series.contains(*label));
            unknown.extend(labels.map(|label| format!("{name}{{{label}}}")));
        }
        unknown
    }
}

impl ExprVisitor for Asked {
    type Error = Infallible;

    fn pre_visit(&mut self, expression: &Expr) -> Result<bool, Infallible> {
        match expression {
            Expr::VectorSelector(of) => self.select(of),
            Expr::MatrixSelector(range) => self.select(&range.vs),
            Expr::Aggregate(aggregate) => self.group(aggregate.modifier.as_ref()),
            Expr::Binary(binary) => {
                self.group(binary.modifier.as_ref().and_then(|how| how.matching.as_ref()));
            }
            _ => {}
        }
        Ok(true)
    }
}

#[test]
fn every_alert_is_promql_over_what_there_is_and_is_explained() {
    let (alerts, known, chapters) = (alerts(), series(), chapters());
    assert!(alerts.len() > 5, "{} alerts", alerts.len());
    for Rule { alert, expr, pending } in alerts {
        let asked = Asked::by(&expr).unwrap_or_else(|fault| panic!("{alert}: {fault}: {expr}"));
        assert!(!asked.series.is_empty(), "{alert}");
        assert_eq!(asked.unknown(&known), Vec::<String>::new(), "{alert}: {expr}");
        if let Some(pending) = pending {
            parse_duration(&pending).unwrap_or_else(|fault| panic!("{alert}: {fault}"));
        }
        let row = format!("\n| `{alert}` | ");
        assert!(chapters.iter().any(|chapter| chapter.contains(&row)), "{alert} has no row");
    }
}

#[test]
fn every_series_that_a_sentence_selects_is_promql_over_what_there_is() {
    let known = series();
    let chapters = chapters();
    let quoted = chapters.iter().flat_map(|chapter| chapter.split('`').skip(1).step_by(2));
    let selected: Vec<&str> =
        quoted.filter(|code| code.starts_with("signet_") && code.contains("=\"")).collect();
    assert!(!selected.is_empty());
    for selector in selected {
        let asked = Asked::by(selector).unwrap_or_else(|fault| panic!("{fault}: {selector}"));
        assert_eq!(asked.unknown(&known), Vec::<String>::new(), "{selector}");
    }
}

#[test]
fn what_is_wrong_is_found() {
    let known = series();
    for (expression, expected) in [
        ("sum by (reason) (rate(signet_xds_rejected_total[10m])) > 1", &[][..]),
        ("signet_xds_rejected > 1", &["signet_xds_rejected"]),
        ("rate(signet_xds_nacks_total{reason=\"x\"}[1m])", &["signet_xds_nacks_total{reason}"]),
        ("sum by (digest) (signet_build_info)", &["signet_build_info{digest}"]),
        ("up unless on (le) up", &["up{le}", "up{le}"]),
    ] {
        let asked = Asked::by(expression).unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(asked.unknown(&known), expected, "{expression}");
    }
    for expression in [
        "rate(signet_xds_nacks_total) > 0",
        "sum(signet_xds_acks_total[5m])",
        "up == 1 unless",
        "a b",
    ] {
        assert!(Asked::by(expression).is_err(), "{expression}");
    }
}
