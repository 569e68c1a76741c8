//! What is told of a session once it is over.

use wasm_host::PostgresFilter;

use super::{API, NOW, POLICY, SESSION_START, open, parameters, session, start, startup};

fn last_line(filter: &PostgresFilter) -> &str {
    &filter.logs().last().unwrap().text
}

#[test]
fn a_session_has_a_line_at_its_begin_and_one_at_its_end() {
    for (client_first, reason) in [(true, "client_left"), (false, "postgres_left")] {
        let mut filter = start(POLICY);
        let packet = startup(&[("user", "api"), ("database", "customers")]);
        let (connection, _) = open(&mut filter, API, &packet);
        filter.from_server(connection, SESSION_START, false).unwrap();
        let begin = "session 2 of spiffe://example.org/api: session begins: allowed as `api` by rule `api` \
                     (user \"api\", database \"customers\"), backend 258";
        assert_eq!(last_line(&filter), begin);
        filter.from_client(connection, b"Q\0\0\0\x0dselect 1\0", false).unwrap();
        filter.set_unix_seconds(NOW + 7);
        if client_first {
            filter.from_client(connection, b"", true).unwrap();
        }
        filter.from_server(connection, b"", true).unwrap();
        let state = filter.disconnect(connection).unwrap();
        let (received, sent) = (packet.len() + 14, SESSION_START.len());
        let account = format!(
            "session 2 of spiffe://example.org/api: session over: rule=\"api\" role=\"api\" database=\"customers\" \
             backend=258 start={NOW} end={} reason={reason} received={received} sent={sent}",
            NOW + 7
        );
        assert_eq!(last_line(&filter), account);
        assert_eq!(state["wasm.signet.end"], reason.as_bytes());
        assert_eq!(state["wasm.signet.backend"], b"258");
        assert_eq!(state["wasm.signet.database"], b"customers");
    }
}

#[test]
fn the_first_reason_counts_and_none_is_told_too() {
    let mut filter = start(POLICY);
    let lost = session(&mut filter, API);
    let ended = session(&mut filter, API);
    filter.disconnect(lost).unwrap();
    assert!(last_line(&filter).contains(" reason=lost "));
    filter.set_unix_seconds(NOW + 3600);
    filter.tick(ended).unwrap();
    filter.from_server(ended, b"", true).unwrap();
    filter.disconnect(ended).unwrap();
    assert!(last_line(&filter).contains(" reason=max_session "));
}

#[test]
fn what_postgres_refuses_is_told_as_that() {
    let mut filter = start(POLICY);
    let packet = startup(&[("user", "api"), ("database", "customers")]);
    let (connection, _) = open(&mut filter, API, &packet);
    let error = b"E\0\0\0\x13SFATAL\0C28000\0\0";
    assert_eq!(filter.from_server(connection, error, true).unwrap().to_client, error);
    assert_eq!(filter.metric("signet_postgres_refused_by_postgres"), Some(1));
    // The client has been told, and may not stay.
    filter.set_unix_seconds(NOW + 2);
    assert!(filter.tick(connection).unwrap().closed);
    assert!(last_line(&filter).contains("backend=- "), "{}", last_line(&filter));
    assert!(last_line(&filter).contains(" reason=refused_by_postgres "));
}

#[test]
fn connections_are_counted_while_there_are_any() {
    let mut filter = start(POLICY);
    let count = |filter: &PostgresFilter| filter.metric("signet_postgres_connections");
    let silent = filter.connect(None).unwrap();
    let running = session(&mut filter, API);
    assert_eq!(count(&filter), Some(2));
    filter.disconnect(silent).unwrap();
    filter.disconnect(running).unwrap();
    assert_eq!(count(&filter), Some(0));
}

#[test]
fn an_application_without_a_name_is_called_by_its_identity() {
    let long = format!("spiffe://example.org/{}/api", "x".repeat(60));
    let policy = POLICY.replace("spiffe://example.org/api", &long);
    for (policy, id, asked, expected) in [
        (POLICY, "spiffe://example.org/api", None, "spiffe://example.org/api"),
        (POLICY, "spiffe://example.org/api", Some(("Application_Name", "psql")), "psql"),
        (&policy, &long, None, &long[long.len() - 63..]),
    ] {
        let mut filter = start(policy);
        let mut parameters_asked = vec![("user", "api"), ("database", "customers")];
        parameters_asked.extend(asked);
        let peer = format!("2000000000|{id}");
        let (_, progress) = open(&mut filter, &peer, &startup(&parameters_asked));
        assert_eq!(parameters(&progress.to_server)["application_name"], expected, "{id}");
    }
}
