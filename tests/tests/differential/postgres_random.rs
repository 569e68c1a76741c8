//! Random policies about Postgres and start-up packets, over small alphabets, so that they often meet. What is named is
//! there in the database of the examples.

use proptest::{
    bool,
    collection::vec,
    option,
    prelude::{Just, Strategy},
    sample::{select, subsequence},
};
use serde_json::{Value, json};

use crate::postgres_reference::{Connection, Rule};

/// The callers: the workloads of the demo.
pub(crate) const CALLERS: &[&str] = &[
    "spiffe://example.org/ns/client-ns/sa/client",
    "spiffe://example.org/ns/api-ns/sa/api",
    "spiffe://example.org/ns/report-ns/sa/report",
];

const DESTINATION: &str = "spiffe://example.org/ns/postgres-ns/sa/customer-db";

const PATTERNS: &[&str] = &[
    "**",
    "spiffe://example.org/**",
    "spiffe://example.org/ns/*/sa/*",
    "spiffe://example.org/ns/*/sa/api",
    "spiffe://example.org/ns/api-ns/**",
    "spiffe://example.org/ns/*/*/client",
    "spiffe://example.org/ns/client-ns/sa/*",
    "spiffe://example.org/ns/client-ns/sa/client",
    "spiffe://example.org/ns/report-ns/sa/report",
    "spiffe://example.org/ns/api-ns/sa/ap",
];

const ROLES: &[&str] = &["customers_reader", "customers_writer", "api", "dbclient"];

/// A policy, and connections to it. No two rules have a caller and a database in common: that would be a tie.
pub(crate) fn policy_and_connections(
    connections: usize,
) -> impl Strategy<Value = (Vec<Rule>, Vec<Connection>)> {
    let patterns: Vec<String> = PATTERNS.iter().map(|text| (*text).to_owned()).collect();
    let rules = Just(patterns).prop_shuffle().prop_flat_map(|patterns| {
        let sizes = vec(1..4_usize, PATTERNS.len());
        sizes.prop_flat_map(move |sizes| {
            let mut rest = patterns.clone();
            let mut groups = Vec::new();
            for size in sizes {
                let group: Vec<String> = rest.drain(..size.min(rest.len())).collect();
                if !group.is_empty() {
                    groups.push(rules_of(group));
                }
            }
            groups
        })
    });
    (rules, vec(connection(), connections)).prop_map(|(groups, connections)| {
        let mut rules: Vec<Rule> = groups.into_iter().flatten().collect();
        for (i, rule) in rules.iter_mut().enumerate() {
            rule.name = format!("rule-{}", (i * 7) % 32);
        }
        (rules, connections)
    })
}

/// Rules of the same callers, for databases that differ; or none.
fn rules_of(from: Vec<String>) -> impl Strategy<Value = Vec<Rule>> {
    let databases: &[&[&[&str]]] = &[
        &[],
        &[&["*"]],
        &[&["customers"]],
        &[&["customers", "products"]],
        &[&["customers"], &["products"]],
        &[&["products"], &["*"]],
        &[&["*", "customers"]],
        &[&["customers", "products"], &["*"]],
    ];
    select(databases).prop_flat_map(move |databases| {
        let from = from.clone();
        let rule = move |databases: &'static [&'static str]| {
            let from = from.clone();
            let texts = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect::<Vec<_>>();
            (
                select(ROLES),
                option::of(subsequence(ROLES, 1..3)),
                option::of(subsequence(&["search_path", "work_mem"][..], 1..=2)),
                bool::ANY,
            )
                .prop_map(move |(login, act, parameters, replication)| Rule {
                    name: String::new(),
                    from: from.clone(),
                    databases: databases.iter().map(|name| (*name).to_owned()).collect(),
                    login_role: login.to_owned(),
                    may_act_as: act.map(texts),
                    client_parameters: parameters.map(texts),
                    replication,
                })
        };
        databases.iter().map(|databases| rule(databases)).collect::<Vec<_>>()
    })
}

fn connection() -> impl Strategy<Value = Connection> {
    let users = select(
        &["customers_reader", "customers_writer", "api", "dbclient", "postgres", "nobody", ""][..],
    );
    let databases = select(&["customers", "products", "other", "Customers", "", "*"][..]);
    let more = select(
        &[
            ("application_name", "a"),
            ("DateStyle", "ISO"),
            ("search_path", "public"),
            ("Work_Mem", "4MB"),
            ("replication", "database"),
            ("replication", "true"),
            ("role", "postgres"),
            ("signet.rule", "forged"),
            ("user", "postgres"),
            ("database", "products"),
        ][..],
    );
    (select(CALLERS), users, option::weighted(0.9, databases), vec(more, 0..3)).prop_map(
        |(from, user, database, more)| {
            let mut parameters = vec![("user", user)];
            parameters.extend(database.map(|database| ("database", database)));
            parameters.extend(more);
            let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
            Connection {
                from: from.to_owned(),
                parameters: parameters.into_iter().map(owned).collect(),
            }
        },
    )
}

/// What the filter reads.
pub(crate) fn slice(rules: &[Rule]) -> Value {
    let rules: Vec<Value> = rules.iter().map(wire).collect();
    json!({ "format": 1, "workload": DESTINATION, "postgres": rules })
}

/// The document, as JSON, which is YAML. Whoever is let into the database `which_policy_N` sees the N-th in force.
pub(crate) fn document(rules: &[Rule], generation: usize) -> String {
    let of_document = |rule: &Rule| {
        let mut value = wire(rule);
        value["to"] = json!(["db"]);
        value
    };
    let mut postgres: Vec<Value> = rules.iter().map(of_document).collect();
    postgres.push(json!({
        "name": "which-policy", "from": CALLERS, "to": ["db"], "login_role": "api",
        "databases": [format!("which_policy_{generation}")],
    }));
    let workloads = json!({ "db": DESTINATION });
    json!({ "version": 1, "trust_domain": "example.org", "workloads": workloads, "postgres": postgres })
        .to_string()
}

fn wire(rule: &Rule) -> Value {
    let mut value = json!({
        "name": rule.name, "from": rule.from, "databases": rule.databases, "login_role": rule.login_role,
    });
    for (key, list) in
        [("may_act_as", &rule.may_act_as), ("client_parameters", &rule.client_parameters)]
    {
        if let Some(list) = list {
            value[key] = json!(list);
        }
    }
    if rule.replication {
        value["replication"] = true.into();
    }
    value
}
