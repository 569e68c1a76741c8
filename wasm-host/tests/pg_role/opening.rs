//! From a connection's first byte to its session.

use wasm_host::Progress;

use super::{
    API, GSSENC_REQUEST, NOW, POLICY, REPORT, SSL_REQUEST, STRANGER, error, open, parameters,
    session, start, startup,
};

#[test]
fn an_allowed_start_up_is_rewritten() {
    let mut filter = start(POLICY);
    let asked = [
        ("user", "api"),
        ("database", "customers"),
        ("user", "customers_reader"),
        ("application_name", "x"),
    ];
    let (connection, progress) = open(&mut filter, API, &startup(&asked));
    let expected = [
        ("user", "customers_reader"),
        ("database", "customers"),
        ("application_name", "x"),
        ("statement_timeout", "5s"),
        ("signet.spiffe_id", "spiffe://example.org/api"),
        ("signet.rule", "api"),
    ];
    let expected =
        expected.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    assert_eq!(parameters(&progress.to_server), expected);
    assert_eq!(filter.cluster(connection).as_deref(), Some("postgres"));
    let state = filter.disconnect(connection).unwrap();
    assert_eq!(state["wasm.signet.role"], b"customers_reader");
    assert_eq!(state["wasm.signet.rule"], b"api");
    assert_eq!(state["wasm.signet.decision"], b"allow");
    assert_eq!(filter.metric("signet_postgres_allowed"), Some(1));
}

#[test]
fn every_split_of_a_start_up_gives_the_same_and_pipelined_bytes_survive() {
    let packet = startup(&[("user", "anybody"), ("database", "customers")]);
    let query = b"Q\0\0\0\x0dselect 1\0";
    let mut filter = start(POLICY);
    let whole = [packet.as_slice(), query].concat();
    let expected = open(&mut filter, REPORT, &whole).1.to_server;
    assert!(expected.ends_with(query));
    for split in 1..whole.len() {
        let (connection, first) = open(&mut filter, REPORT, &whole[..split]);
        assert_eq!(first.to_server.is_empty(), split < packet.len(), "split at {split}");
        let second = filter.from_client(connection, &whole[split..], false).unwrap();
        assert_eq!([first.to_server, second.to_server].concat(), expected, "split at {split}");
    }
}

#[test]
fn encryption_is_answered_by_identity() {
    let mut filter = start(POLICY);
    // A peer with a rule: Postgres answers, and the start-up goes to the same backend.
    let (connection, progress) = open(&mut filter, API, SSL_REQUEST);
    assert_eq!(
        (progress.to_server.as_slice(), filter.cluster(connection).as_deref()),
        (SSL_REQUEST, Some("postgres"))
    );
    assert_eq!(filter.from_server(connection, b"N", false).unwrap().to_client, b"N");
    let asked = [("user", "api"), ("database", "customers")];
    let progress = filter.from_client(connection, &startup(&asked), false).unwrap();
    assert_eq!(parameters(&progress.to_server)["user"], "api");

    // A peer without one: the echo answers, then denies.
    let (connection, progress) = open(&mut filter, STRANGER, GSSENC_REQUEST);
    assert_eq!(
        (progress.to_client.as_slice(), filter.cluster(connection).as_deref()),
        (b"N".as_slice(), Some("deny"))
    );
    assert_eq!(filter.from_client(connection, SSL_REQUEST, false).unwrap().to_client, b"N");
    let progress = filter.from_client(connection, &startup(&asked), false).unwrap();
    assert_eq!(error(&progress.to_client)[&'C'], "28000");
}

#[test]
fn a_start_up_denied_after_encryption_was_relayed_replaces_postgres_next_answer() {
    let mut filter = start(POLICY);
    let (connection, _) = open(&mut filter, API, SSL_REQUEST);
    filter.from_server(connection, b"N", false).unwrap();
    let progress = filter
        .from_client(
            connection,
            &startup(&[("user", "postgres"), ("database", "customers")]),
            false,
        )
        .unwrap();
    assert_eq!((progress.to_server.as_slice(), progress.to_client.len()), (GSSENC_REQUEST, 0));
    let progress = filter.from_server(connection, b"N", false).unwrap();
    assert_eq!(error(&progress.to_client)[&'C'], "28000");
    assert_eq!(filter.metric("signet_postgres_denied_after_relay"), Some(1));
}

#[test]
fn a_client_that_runs_ahead_or_a_server_that_encrypts_is_cut_off() {
    let mut filter = start(POLICY);
    let (_, progress) = open(&mut filter, API, &[SSL_REQUEST, b"x"].concat());
    assert!(progress.closed && progress.to_server.is_empty());
    let (connection, _) = open(&mut filter, API, SSL_REQUEST);
    assert!(filter.from_client(connection, b"x", false).unwrap().closed);
    let (connection, _) = open(&mut filter, API, SSL_REQUEST);
    let progress = filter.from_server(connection, b"S", false).unwrap();
    assert!(progress.closed && progress.to_client.is_empty());
}

#[test]
fn bytes_that_are_no_start_up_get_what_postgres_gives_them() {
    let mut filter = start(POLICY);
    for length in [0_u32, 7, 10_005, u32::MAX] {
        let (_, progress) = open(&mut filter, API, &length.to_be_bytes());
        assert!(progress.closed && progress.to_client.is_empty(), "{length}");
    }
    let (_, progress) = open(&mut filter, API, b"\0\0\0\x0c\0\x03\0\0user");
    assert_eq!(error(&progress.to_client)[&'C'], "08P01");
}

#[test]
fn of_a_foreign_version_only_its_number_goes_to_postgres() {
    let mut filter = start(POLICY);
    let old = b"\0\0\0\x10\0\x02\0\0postgres";
    let smuggled = startup(&[("user", "postgres"), ("database", "postgres")]);
    let (connection, progress) = open(&mut filter, API, &[old.as_slice(), &smuggled].concat());
    assert_eq!(progress.to_server, &[0, 0, 0, 8, 0, 2, 0, 0]);
    let more = filter.from_client(connection, &smuggled, false).unwrap();
    assert_eq!(more, Progress::default(), "what follows goes nowhere");
    let answer = b"EFATAL:  unsupported frontend protocol 2.0\n\0";
    assert_eq!(filter.from_server(connection, answer, false).unwrap().to_client, answer);
    filter.set_unix_seconds(NOW + 14);
    assert!(!filter.tick(connection).unwrap().closed);
    filter.set_unix_seconds(NOW + 15);
    assert!(filter.tick(connection).unwrap().closed);

    // The probe costs a backend; somebody without a rule does not.
    assert_eq!(filter.metric("signet_postgres_denied_after_relay"), Some(1));
    let (_, progress) = open(&mut filter, STRANGER, old);
    assert_eq!(error(&progress.to_client)[&'C'], "0A000");
    assert_eq!(filter.metric("signet_postgres_denied_after_relay"), Some(1));
    assert_eq!(filter.metric("signet_postgres_refused"), Some(2));
}

#[test]
fn a_client_that_leaves_early_or_dallies_is_closed() {
    let mut filter = start(POLICY);
    let (connection, _) = open(&mut filter, API, b"\0\0\0");
    assert!(filter.from_client(connection, b"", true).unwrap().closed);
    // Amid its question for encryption too, which is not to run ahead.
    let (asked, _) = open(&mut filter, API, SSL_REQUEST);
    assert!(!filter.from_client(asked, b"", false).unwrap().closed);
    assert!(filter.from_client(asked, b"", true).unwrap().closed);
    for connection in [connection, asked] {
        let state = filter.disconnect(connection).unwrap();
        assert_eq!(state["wasm.signet.reason"], b"startup_cut_short");
    }
    let silent = filter.connect(None).unwrap();
    let (half, _) = open(&mut filter, API, b"\0\0\0");
    let running = session(&mut filter, API);
    filter.set_unix_seconds(NOW + 14);
    assert!(!filter.tick(silent).unwrap().closed);
    filter.set_unix_seconds(NOW + 15);
    assert!(filter.tick(silent).unwrap().closed);
    assert!(filter.tick(half).unwrap().closed);
    assert!(!filter.tick(running).unwrap().closed);
}

#[test]
fn a_denied_client_that_stays_is_closed_by_the_timer() {
    let mut filter = start(POLICY);
    // The second of a denial may be over at once: within the next one the client can read it.
    let (connection, progress) = open(&mut filter, STRANGER, &startup(&[("user", "x")]));
    assert!(!progress.closed);
    let more = filter.from_client(connection, b"Q\0\0\0\x05\0", false).unwrap();
    assert_eq!(more, Progress::default(), "what follows a denial goes nowhere");
    filter.set_unix_seconds(NOW + 1);
    assert!(!filter.tick(connection).unwrap().closed);
    filter.set_unix_seconds(NOW + 2);
    assert!(filter.tick(connection).unwrap().closed);
}

/// Postgres holds a backend for it, no longer than a start-up may take.
#[test]
fn who_asks_for_encryption_and_says_no_more_is_closed_and_counted() {
    let mut filter = start(POLICY);
    let [unanswered, answered] = [(); 2].map(|()| open(&mut filter, API, SSL_REQUEST).0);
    filter.from_server(answered, b"N", false).unwrap();
    filter.set_unix_seconds(NOW + 14);
    assert!([unanswered, answered].iter().all(|it| !filter.tick(*it).unwrap().closed));
    filter.set_unix_seconds(NOW + 15);
    assert!([unanswered, answered].iter().all(|it| filter.tick(*it).unwrap().closed));
    assert_eq!(filter.metric("signet_postgres_refused"), Some(2));
    assert_eq!(filter.metric("signet_postgres_denied_after_relay"), Some(2));
}

#[test]
fn what_the_policy_adds_counts_for_the_length_of_a_packet() {
    let mut filter = start(POLICY);
    let long = "x".repeat(
        10_004
            - startup(&[("user", "api"), ("database", "customers"), ("application_name", "")])
                .len(),
    );
    let asked = [("user", "api"), ("database", "customers"), ("application_name", long.as_str())];
    assert_eq!(startup(&asked).len(), 10_004);
    let (connection, progress) = open(&mut filter, API, &startup(&asked));
    assert_eq!(error(&progress.to_client)[&'C'], "08P01");
    assert!(error(&progress.to_client)[&'H'].starts_with("send fewer or shorter parameters"));
    assert_eq!(filter.cluster(connection).as_deref(), Some("deny"));
}

#[test]
fn a_cancel_passes_only_for_whose_session_it_is() {
    let cancel = |pid: u8, key: &[u8; 4]| {
        [&[0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 1, pid], key.as_slice()].concat()
    };
    let mut filter = start(POLICY);
    let running = session(&mut filter, API);
    for (peer, packet, passes) in [
        (API, cancel(2, b"abcd"), true),
        (API, cancel(2, b"abce"), false),
        (API, cancel(3, b"abcd"), false),
        (REPORT, cancel(2, b"abcd"), false),
        ("-|-", cancel(2, b"abcd"), false),
    ] {
        let (_, progress) = open(&mut filter, peer, &packet);
        assert_eq!(
            (progress.closed, progress.to_server.is_empty()),
            (!passes, !passes),
            "{peer} {packet:?}"
        );
    }
    let packet = cancel(2, b"abcd");
    let smuggled = startup(&[("user", "postgres"), ("database", "postgres")]);
    let (cancelling, progress) = open(&mut filter, API, &[packet.as_slice(), &smuggled].concat());
    assert_eq!(progress.to_server, packet, "what follows a cancel goes nowhere");
    assert_eq!(filter.from_client(cancelling, &smuggled, false).unwrap(), Progress::default());
    filter.set_unix_seconds(NOW + 15);
    assert!(filter.tick(cancelling).unwrap().closed);

    filter.disconnect(running).unwrap();
    assert!(open(&mut filter, API, &packet).1.closed, "the session has ended");
}
