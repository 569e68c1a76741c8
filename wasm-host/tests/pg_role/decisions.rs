//! Who is let in, and what the others are told.

use super::{API, POLICY, REPORT, STRANGER, denied, error, open, start, startup};

#[test]
fn each_denial_has_its_class() {
    let mut filter = start(POLICY);
    let ask = [("user", "api"), ("database", "customers")];
    let with = |extra: (&'static str, &'static str)| [ask[0], ask[1], extra];
    let long = "x".repeat(64);
    for (peer, asked, expected) in [
        (API, &ask[..], None),
        (API, &with(("client_encoding", "UTF8")), None),
        (API, &with(("options", "-c TimeZone=UTC --lock-timeout=1s")), None),
        (REPORT, &[("user", "postgres"), ("database", "customers")], None),
        (STRANGER, &ask, Some("28000")),
        ("-|-", &ask, Some("28000")),
        ("2000000000|spiffe://example.org/api,spiffe://example.org/report", &ask, Some("28000")),
        ("1800000000|spiffe://example.org/api", &ask, Some("28000")),
        (API, &[("user", "postgres"), ("database", "customers")], Some("28000")),
        (API, &[("user", "api")], Some("3D000")),
        (API, &[("user", "api"), ("database", "postgres")], Some("3D000")),
        (API, &with(("search_path", "x")), Some("42501")),
        (API, &with(("ROLE", "postgres")), Some("42501")),
        (API, &with(("session_authorization", "postgres")), Some("42501")),
        (API, &with(("replication", "database")), Some("42501")),
        (API, &with(("options", "--Role=postgres")), Some("42501")),
        (API, &with(("options", "-d5")), Some("42501")),
        (API, &with(("options", "-c role")), Some("08P01")),
        (API, &[("user", long.as_str())], Some("08P01")),
        (API, &[("database", "customers")], Some("28000")),
    ] {
        assert_eq!(denied(&mut filter, peer, asked).as_deref(), expected, "{peer} {asked:?}");
    }
    assert_eq!(filter.metric("signet_postgres_no_identity"), Some(3));
    let (first, second) = (startup(&with(("options", "-d5"))), startup(&[("user", &long)]));
    for packet in [first.as_slice(), &second, b"\0\0\0\x0c\0\x03\0\0user"] {
        let (_, progress) = open(&mut filter, API, packet);
        let fields = error(&progress.to_client);
        assert!(!fields[&'D'].is_empty() && !fields[&'H'].is_empty(), "{fields:?}");
    }
}

#[test]
fn without_a_readable_policy_everybody_is_denied() {
    for policy in ["", "{", r#"{"format": 2, "workload": "spiffe://example.org/db"}"#] {
        let mut filter = start(policy);
        let asked = [("user", "api"), ("database", "customers")];
        assert_eq!(denied(&mut filter, API, &asked).as_deref(), Some("28000"), "{policy}");
    }
}

/// Postgres logs the name of a database as it came, before it looks whether there is one.
#[test]
fn a_name_that_would_begin_a_line_in_a_log_is_no_database() {
    let named = r#""databases": ["customers"], "login_role": "customers_reader""#;
    assert!(POLICY.contains(named));
    let mut filter = start(&POLICY.replace(named, &named.replace("customers\"]", "*\"]")));
    for (database, expected) in [
        ("any", None),
        ("x\n2026-01-01 [4711] a@b LOG:  y", Some("3D000")),
        ("\x1b[2J", Some("3D000")),
    ] {
        let asked = [("user", "report"), ("database", database)];
        assert_eq!(denied(&mut filter, REPORT, &asked).as_deref(), expected, "{database:?}");
    }
}

#[test]
fn the_peer_learns_the_class_and_the_log_the_rule() {
    let mut filter = start(POLICY);
    let asked = [("user", "postgres"), ("database", "customers")];
    let (_, progress) = open(&mut filter, API, &startup(&asked));
    let fields = error(&progress.to_client);
    assert_eq!(fields[&'M'], "signet: access as user \"postgres\" denied");
    assert_eq!(fields[&'D'], "user \"postgres\", database \"customers\", session 2");
    assert_eq!(fields[&'H'], "name a user that the policy gives to this workload");
    let log = &filter.logs().last().unwrap().text;
    assert!(log.starts_with("session 2 of spiffe://example.org/api: rule `api` "), "{log}");
    // What the client says is not repeated at its length.
    let long = "x".repeat(9_000);
    let options = format!("--{long}=y");
    for name_and_value in [(long.as_str(), "y"), ("options", &options), ("options", &long)] {
        open(
            &mut filter,
            API,
            &startup(&[("user", "api"), ("database", "customers"), name_and_value]),
        );
        let log = &filter.logs().last().unwrap().text;
        assert!(log.contains("xxx") && log.len() < 300, "{log}");
    }
    let told = POLICY.replacen('{', r#"{"filter": {"denial_detail": "rule"},"#, 1);
    let (_, progress) = open(&mut start(&told), API, &startup(&asked));
    assert!(error(&progress.to_client)[&'D'].starts_with("rule `api` "));
}
