use serde_json::{Value, json};

use crate::{NoIdentity, Parameter, Policy, PostgresDecision, Slice, SpiffeId, StartupRequest};

const API: &str = "spiffe://example.org/ns/api-ns/sa/api";
const REPORT: &str = "spiffe://example.org/ns/report-ns/sa/report";

fn policy(rules: Value) -> Policy {
    let slice = json!({ "format": 1, "workload": "spiffe://example.org/ns/db-ns/sa/db", "postgres": rules });
    Policy::compile(Slice::from_json(slice.to_string().as_bytes()).unwrap())
}

fn demo() -> Policy {
    policy(json!([
        { "name": "api-uses", "from": [API], "databases": ["customers"], "login_role": "api",
          "may_act_as": ["reader", "writer"] },
        { "name": "report-reads", "from": [REPORT], "databases": ["customers"], "login_role": "reader" },
    ]))
}

fn pairs<'a>(list: &'a [(&'a str, &'a str)]) -> Vec<Parameter<'a>> {
    list.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect()
}

/// Tells the decision as `verdict role rule` or `verdict reason SQLSTATE`.
fn decide(
    policy: &Policy,
    from: &str,
    parameters: &[(&str, &str)],
    options: &[(&str, &str)],
) -> String {
    let (parameters, options) = (pairs(parameters), pairs(options));
    let request = StartupRequest { parameters: &parameters, options: &options };
    let peer = SpiffeId::parse(from).map_err(|_| NoIdentity::InvalidSpiffeId);
    let decision = policy.decide_postgres(peer, &request);
    match decision {
        PostgresDecision::Allow(session) => format!("allow {} {}", session.role, session.rule.name),
        _ => {
            format!("{} {} {}", decision.verdict(), decision.reason(), decision.sqlstate().unwrap())
        }
    }
}

/// What Postgres is told, as `name=value` lines without user, database and ours.
fn told(policy: &Policy, parameters: &[(&str, &str)], options: &[(&str, &str)]) -> Vec<String> {
    let (parameters, options) = (pairs(parameters), pairs(options));
    let request = StartupRequest { parameters: &parameters, options: &options };
    let decision = policy.decide_postgres(Ok(SpiffeId::parse(API).unwrap()), &request);
    let PostgresDecision::Allow(session) = decision else { panic!("{decision}") };
    let mut told: Vec<String> = session
        .startup_parameters()
        .map(|(name, value)| format!("{}={}", name.escape_ascii(), value.escape_ascii()))
        .collect();
    assert_eq!(told.remove(0), format!("user={}", session.role));
    assert_eq!(told.remove(0), format!("database={}", session.database.escape_ascii()));
    assert_eq!(told.pop().unwrap(), format!("signet.rule={}", session.rule.name));
    assert_eq!(told.pop().unwrap(), format!("signet.spiffe_id={API}"));
    told
}

#[test]
fn who_becomes_whom() {
    let policy = demo();
    for (from, user, database, expected) in [
        (API, "api", "customers", "allow api api-uses"),
        (API, "reader", "customers", "allow reader api-uses"),
        (API, "writer", "customers", "allow writer api-uses"),
        (API, "postgres", "customers", "deny user_not_allowed 28000"),
        (API, "API", "customers", "deny user_not_allowed 28000"),
        (API, "api", "other", "deny database_not_allowed 3D000"),
        (API, "api", "Customers", "deny database_not_allowed 3D000"),
        (API, "api", "*", "deny database_not_allowed 3D000"),
        (API, "api", "customers\n", "deny database_not_allowed 3D000"),
        (API, "api", "", "deny database_not_allowed 3D000"),
        (REPORT, "postgres", "customers", "allow reader report-reads"),
        (REPORT, "reader", "customers", "allow reader report-reads"),
        ("spiffe://example.org/ns/other/sa/x", "api", "customers", "deny no_rule 28000"),
        ("", "api", "customers", "deny invalid_spiffe_id 28000"),
        (API, "", "customers", "refuse no_user 28000"),
    ] {
        let decided = decide(&policy, from, &[("user", user), ("database", database)], &[]);
        assert_eq!(decided, expected, "{from} {user} {database}");
    }
    let long = "x".repeat(64);
    assert_eq!(decide(&policy, API, &[("user", &long)], &[]), "refuse user_too_long 08P01");
    assert_eq!(
        decide(&policy, API, &[("user", "api"), ("database", &long)], &[]),
        "refuse database_too_long 08P01"
    );
}

#[test]
fn the_heaviest_from_decides_alone_then_the_exact_database() {
    let policy = policy(json!([
        { "name": "anyone", "from": ["**"], "databases": ["a", "b", "c"], "login_role": "anyone" },
        { "name": "domain", "from": ["spiffe://example.org/**"], "databases": ["*"], "login_role": "domain" },
        { "name": "exact-any", "from": [API], "databases": ["*"], "login_role": "exact_any",
          "may_act_as": ["chosen"] },
        { "name": "named-a", "from": [API], "databases": ["a"], "login_role": "exact_a" },
    ]));
    for (from, database, expected) in [
        (API, "a", "allow exact_a named-a"),
        (API, "b", "deny user_not_allowed 28000"),
        (REPORT, "a", "allow domain domain"),
        ("spiffe://other/x", "a", "allow anyone anyone"),
        ("spiffe://other/x", "d", "deny database_not_allowed 3D000"),
        (REPORT, "d d", "allow domain domain"),
        // A log that has the name must not get a line from it.
        (REPORT, "d\nd", "deny database_not_allowed 3D000"),
        (REPORT, "d\x1b[2J", "deny database_not_allowed 3D000"),
        (REPORT, "d\x7f", "deny database_not_allowed 3D000"),
    ] {
        let decided = decide(&policy, from, &[("user", "u"), ("database", database)], &[]);
        assert_eq!(decided, expected, "{from} {database}");
    }
}

#[test]
fn only_listed_settings_may_be_chosen() {
    let plain = demo();
    let wider = policy(json!([{
        "name": "api-uses", "from": [API], "databases": ["customers"], "login_role": "api",
        "client_parameters": ["search_path"], "replication": true,
    }]));
    let user = [("user", "api"), ("database", "customers")];
    let allowed = "allow api api-uses";
    let refused = "deny parameter_not_allowed 42501";
    for (name, in_packet, in_options, in_packet_wider, in_options_wider) in [
        ("client_encoding", allowed, allowed, allowed, allowed),
        ("CLIENT_ENCODING", allowed, allowed, allowed, allowed),
        ("datestyle", allowed, allowed, allowed, allowed),
        ("application_name", allowed, allowed, allowed, allowed),
        ("statement_timeout", allowed, allowed, allowed, allowed),
        ("statement-timeout", refused, allowed, refused, allowed),
        ("_pq_.extension", allowed, refused, allowed, refused),
        ("_PQ_.extension", refused, refused, refused, refused),
        ("signet.spiffe_id", allowed, allowed, allowed, allowed),
        ("Signet.Rule", allowed, allowed, allowed, allowed),
        ("search_path", refused, refused, allowed, allowed),
        ("Search_Path", refused, refused, allowed, allowed),
        ("replication", refused, refused, refused, refused),
        ("Replication", refused, refused, refused, refused),
        ("role", refused, refused, refused, refused),
        ("ROLE", refused, refused, refused, refused),
        ("Role", refused, refused, refused, refused),
        ("session_authorization", refused, refused, refused, refused),
        ("session-authorization", refused, refused, refused, refused),
        ("User", refused, refused, refused, refused),
        ("is_superuser", refused, refused, refused, refused),
        ("local_preload_libraries", refused, refused, refused, refused),
        ("", refused, refused, refused, refused),
        ("user ", refused, refused, refused, refused),
    ] {
        let pair = (name, "x");
        let packet = [user[0], user[1], pair];
        assert_eq!(decide(&plain, API, &packet, &[]), in_packet, "{name} in the packet");
        assert_eq!(decide(&plain, API, &user, &[pair]), in_options, "{name} in options");
        assert_eq!(decide(&wider, API, &packet, &[]), in_packet_wider, "{name}, wider rule");
        assert_eq!(
            decide(&wider, API, &user, &[pair]),
            in_options_wider,
            "{name} in options, wider rule"
        );
    }
    for name in ["user", "database", "options"] {
        assert_eq!(decide(&plain, API, &user, &[(name, "postgres")]), refused, "{name} in options");
    }
}

/// Physical replication has no database.
#[test]
fn a_start_up_for_replication_names_a_database_of_the_rule() {
    let rule = |databases: &[&str], replication| {
        policy(json!([{
            "name": "r", "from": [API], "databases": databases, "login_role": "api",
            "replication": replication,
        }]))
    };
    let (allowed, refused) = ("allow api r", "deny parameter_not_allowed 42501");
    let (none, listed, any) =
        (rule(&["*"], false), rule(&["customers"], true), rule(&["*", "customers"], true));
    for (value, in_none, in_listed, in_any) in [
        ("database", refused, allowed, allowed),
        ("true", refused, refused, allowed),
        ("on", refused, refused, allowed),
        ("1", refused, refused, allowed),
        ("DATABASE", refused, refused, allowed),
        ("", refused, refused, allowed),
    ] {
        let asked = [("user", "api"), ("database", "customers"), ("replication", value)];
        assert_eq!(decide(&none, API, &asked, &[]), in_none, "{value}");
        assert_eq!(decide(&listed, API, &asked, &[]), in_listed, "{value}");
        assert_eq!(decide(&any, API, &asked, &[]), in_any, "{value}");
    }
    // Of two values the last would count, and the first is judged all the same.
    let twice = [
        ("user", "api"),
        ("database", "customers"),
        ("replication", "true"),
        ("replication", "database"),
    ];
    assert_eq!(decide(&listed, API, &twice, &[]), refused);
}

#[test]
fn what_postgres_is_told() {
    let policy = policy(json!([{
        "name": "api-uses", "from": [API], "databases": ["customers"], "login_role": "api",
        "settings": { "statement_timeout": "5s", "search_path": "app" }, "replication": true,
    }]));
    let user =
        [("user", "postgres"), ("user", "root"), ("database", "x"), ("database", "customers")];
    let with = |more: &[(&'static str, &'static str)]| [&user[..], more].concat();
    assert_eq!(told(&policy, &with(&[]), &[]), ["search_path=app", "statement_timeout=5s"]);
    assert_eq!(
        told(
            &policy,
            &with(&[
                ("APPLICATION_NAME", "first"),
                ("options", "-c ignored=1"),
                ("_pq_.x", "1"),
                ("signet.spiffe_id", "forged"),
                ("replication", "database"),
                ("application_name", "last"),
            ]),
            &[
                ("Statement-Timeout", "1s"),
                ("application_name", "from options"),
                ("signet.rule", "forged")
            ],
        ),
        [
            "statement_timeout=1s",
            "_pq_.x=1",
            "replication=database",
            "application_name=last",
            "search_path=app",
        ]
    );
}

#[test]
fn admits_peer() {
    let policy = demo();
    for (from, expected) in [(API, true), (REPORT, true), ("spiffe://example.org/x", false)] {
        assert_eq!(policy.admits_postgres_peer(SpiffeId::parse(from).unwrap()), expected, "{from}");
    }
}
