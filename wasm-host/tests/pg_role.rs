//! `pg_role.wasm`, as built, between a client and an imagined Postgres.

mod modules;

use std::collections::BTreeMap;

use wasm_host::{Connection, PostgresFilter, Progress};

const POLICY: &str = r#"{
    "format": 1,
    "workload": "spiffe://example.org/db",
    "session_grace": 900,
    "postgres": [
        {"name": "api", "from": ["spiffe://example.org/api"], "databases": ["customers"], "login_role": "api",
         "may_act_as": ["customers_reader"], "max_session": 3600, "settings": {"statement_timeout": "5s"}},
        {"name": "report", "from": ["spiffe://example.org/report"], "databases": ["customers"], "login_role": "customers_reader"}
    ]
}"#;
const NOW: u64 = 1_900_000_000;
const API: &str = "2000000000|spiffe://example.org/api";
const REPORT: &str = "2000000000|spiffe://example.org/report";
const STRANGER: &str = "2000000000|spiffe://example.org/stranger";
const SSL_REQUEST: &[u8] = &[0, 0, 0, 8, 4, 210, 22, 47];
const GSSENC_REQUEST: &[u8] = &[0, 0, 0, 8, 4, 210, 22, 48];
const SESSION_START: &[u8] = b"R\0\0\0\x08\0\0\0\0K\0\0\0\x0c\0\0\x01\x02abcdZ\0\0\0\x05I";

fn start(policy: &str) -> PostgresFilter {
    let mut filter =
        PostgresFilter::start(&modules::filter("pg_role.wasm"), policy.as_bytes()).unwrap();
    filter.set_unix_seconds(NOW);
    filter
}

fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut content = 0x0003_0000_u32.to_be_bytes().to_vec();
    for (key, value) in parameters {
        content.extend([key.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
    }
    content.push(0);
    [&u32::try_from(content.len() + 4).unwrap().to_be_bytes(), content.as_slice()].concat()
}

/// The parameters of a start-up packet, by key.
fn parameters(packet: &[u8]) -> BTreeMap<String, String> {
    assert_eq!(u32::from_be_bytes(packet[..4].try_into().unwrap()) as usize, packet.len());
    let texts: Vec<_> = packet[8..]
        .split(|&byte| byte == 0)
        .map(|text| String::from_utf8(text.into()).unwrap())
        .collect();
    texts
        .chunks_exact(2)
        .map(|pair| (pair[0].clone(), pair[1].clone()))
        .filter(|(key, _)| !key.is_empty())
        .collect()
}

/// The fields of an `ErrorResponse`, by their letter.
fn error(bytes: &[u8]) -> BTreeMap<char, String> {
    assert_eq!(bytes.first(), Some(&b'E'), "{:?}", String::from_utf8_lossy(bytes));
    let fields = bytes[5..].split(|&byte| byte == 0).filter(|field| !field.is_empty());
    fields
        .map(|field| (char::from(field[0]), String::from_utf8_lossy(&field[1..]).into_owned()))
        .collect()
}

fn open(filter: &mut PostgresFilter, peer: &str, bytes: &[u8]) -> (Connection, Progress) {
    let connection = filter.connect(Some(peer.as_bytes())).unwrap();
    let progress = filter.from_client(connection, bytes, false).unwrap();
    (connection, progress)
}

/// The SQLSTATE that a start-up is answered with, `None` if it goes on to Postgres.
fn denied(filter: &mut PostgresFilter, peer: &str, asked: &[(&str, &str)]) -> Option<String> {
    let (connection, progress) = open(filter, peer, &startup(asked));
    if progress.to_client.is_empty() {
        assert_eq!(filter.cluster(connection).as_deref(), Some("postgres"));
        return None;
    }
    assert_eq!(filter.cluster(connection).as_deref(), Some("deny"));
    assert!(progress.to_server.is_empty());
    Some(error(&progress.to_client)[&'C'].clone())
}

/// A session that has begun.
fn session(filter: &mut PostgresFilter, peer: &str) -> Connection {
    let (connection, _) =
        open(filter, peer, &startup(&[("user", "api"), ("database", "customers")]));
    assert_eq!(
        filter.from_server(connection, SESSION_START, false).unwrap().to_client,
        SESSION_START
    );
    connection
}

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
    // Protocol 2.0: Postgres answers, and nothing of the packet goes to it.
    let old = b"\0\0\0\x10\0\x02\0\0postgres";
    let (_, progress) = open(&mut filter, API, old);
    assert_eq!(progress.to_server, &[0, 0, 0, 8, 0, 2, 0, 0]);
    let (_, progress) = open(&mut filter, STRANGER, old);
    assert_eq!(error(&progress.to_client)[&'C'], "0A000");
}

#[test]
fn a_client_that_leaves_early_or_dallies_is_closed() {
    let mut filter = start(POLICY);
    let (connection, _) = open(&mut filter, API, b"\0\0\0");
    assert!(filter.from_client(connection, b"", true).unwrap().closed);
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
    let (connection, progress) = open(&mut filter, STRANGER, &startup(&[("user", "x")]));
    assert!(!progress.closed);
    let more = filter.from_client(connection, b"Q\0\0\0\x05\0", false).unwrap();
    assert_eq!(more, Progress::default(), "what follows a denial goes nowhere");
    filter.set_unix_seconds(NOW + 1);
    assert!(filter.tick(connection).unwrap().closed);
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
    filter.disconnect(running).unwrap();
    assert!(open(&mut filter, API, &cancel(2, b"abcd")).1.closed, "the session has ended");
}

#[test]
fn sessions_end_when_their_reason_ends() {
    let svid_ends_first = format!("{}|spiffe://example.org/api", NOW + 60);
    for (peer, end) in [(API, NOW + 3600), (svid_ends_first.as_str(), NOW + 60 + 900)] {
        let mut filter = start(POLICY);
        let running = session(&mut filter, peer);
        filter.set_unix_seconds(end - 1);
        assert_eq!(filter.tick(running).unwrap(), Progress::default());
        filter.set_unix_seconds(end);
        assert_eq!(filter.tick(running).unwrap().to_server, b"X\0\0\0\x04");
        assert_eq!(
            filter.from_client(running, b"Q\0\0\0\x05\0", false).unwrap(),
            Progress::default()
        );
        let last = b"C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I";
        assert_eq!(filter.from_server(running, last, false).unwrap().to_client, last);
        assert_eq!(
            error(&filter.from_server(running, b"", true).unwrap().to_client)[&'C'],
            "57P01"
        );
        filter.set_unix_seconds(end + 2);
        assert!(filter.tick(running).unwrap().closed);
    }
}

#[test]
fn a_session_that_does_not_end_in_time_is_cut_off() {
    let mut filter = start(POLICY);
    let running = session(&mut filter, API);
    filter.set_unix_seconds(NOW + 3600);
    filter.tick(running).unwrap();
    filter.set_unix_seconds(NOW + 3610);
    assert!(filter.tick(running).unwrap().closed);
}

#[test]
fn a_newer_policy_ends_the_sessions_that_it_does_not_allow() {
    let mut filter = start(POLICY);
    let api = session(&mut filter, API);
    let report = session(&mut filter, REPORT);
    filter.configure(b"not a policy").unwrap_err();
    assert_eq!(filter.tick(report).unwrap(), Progress::default());
    filter.configure(POLICY.replace("example.org/report", "example.org/other").as_bytes()).unwrap();
    assert_eq!(filter.tick(report).unwrap().to_server, b"X\0\0\0\x04");
    assert_eq!(filter.tick(api).unwrap(), Progress::default());
    assert_eq!(filter.metric("signet_postgres_sessions_ended"), Some(1));
}

#[test]
fn without_a_readable_policy_everybody_is_denied() {
    for policy in ["", "{", r#"{"format": 2, "workload": "spiffe://example.org/db"}"#] {
        let mut filter = start(policy);
        let asked = [("user", "api"), ("database", "customers")];
        assert_eq!(denied(&mut filter, API, &asked).as_deref(), Some("28000"), "{policy}");
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
    let log = &filter.logs().last().unwrap().text;
    assert!(log.starts_with("session 2 of spiffe://example.org/api: rule `api` "), "{log}");
    let told = POLICY.replacen('{', r#"{"filter": {"denial_detail": "rule"},"#, 1);
    let (_, progress) = open(&mut start(&told), API, &startup(&asked));
    assert!(error(&progress.to_client)[&'D'].starts_with("rule `api` "));
}
