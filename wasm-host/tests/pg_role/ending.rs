//! Sessions that lose their reason.

use wasm_host::{Connection, PostgresFilter, Progress};

use super::{API, NOW, POLICY, REPORT, SESSION_START, error, open, session, start, startup};

/// When the session of [`API`] has lasted as long as its rule lets it.
pub(crate) const END: u64 = NOW + 3600;
/// `CopyFail` and `Terminate`.
const FINISH: &[u8] = b"f\0\0\0\x1asignet: session ended\0X\0\0\0\x04";
const TERMINATE: &[u8] = b"X\0\0\0\x04";
pub(crate) const READY: &[u8] = b"Z\0\0\0\x05I";

#[test]
fn sessions_end_when_their_reason_ends() {
    let svid_ends_first = format!("{}|spiffe://example.org/api", NOW + 60);
    for (peer, end) in [(API, END), (svid_ends_first.as_str(), NOW + 60 + 900)] {
        let mut filter = start(POLICY);
        let running = session(&mut filter, peer);
        filter.set_unix_seconds(end - 1);
        assert_eq!(filter.tick(running).unwrap(), Progress::default());
        filter.set_unix_seconds(end);
        assert_eq!(filter.tick(running).unwrap().to_server, FINISH);
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
fn a_message_that_has_begun_never_becomes_what_it_was_to_be() {
    let query = b"Q\0\0\0\x0dselect 1\0";
    for split in 0..=query.len() {
        let mut filter = start(POLICY);
        let running = session(&mut filter, API);
        let sent = [query.as_slice(), &query[..split]].concat();
        assert_eq!(filter.from_client(running, &sent, false).unwrap().to_server, sent);
        filter.set_unix_seconds(END);
        let filler = match (split, query.len() - split) {
            (0, _) | (_, 0) => Vec::new(),
            (1..5, _) => vec![0; 5 - split],
            (_, rest) => vec![b' '; rest],
        };
        let expected = [filler.as_slice(), FINISH].concat();
        assert_eq!(filter.tick(running).unwrap().to_server, expected, "split at {split}");
        let more = filter.from_client(running, &query[split..], false).unwrap();
        assert_eq!(more, Progress::default(), "split at {split}");
    }
}

#[test]
fn a_message_that_came_with_the_start_up_counts() {
    let packet = startup(&[("user", "api"), ("database", "customers")]);
    let spoiled = [b"\0", FINISH].concat();
    for (behind, expected) in [(b"S\0\0\0\x04".as_slice(), FINISH), (b"S\0\0\0", &spoiled)] {
        let mut filter = start(POLICY);
        let (connection, _) = open(&mut filter, API, &[packet.as_slice(), behind].concat());
        filter.from_server(connection, SESSION_START, false).unwrap();
        filter.set_unix_seconds(END);
        assert_eq!(filter.tick(connection).unwrap().to_server, expected, "{behind:?}");
    }
}

/// The part of a message that could run something if it were made whole.
const EXECUTE: &[u8] = b"E\0\0\0\x09\0\0";

#[test]
fn what_postgres_says_to_a_spoiled_message_is_not_for_the_client() {
    let complaint = b"E\0\0\0\x1dSERROR\0C08P01\0Minvalid\0\0\0Z\0\0\0\x05I";
    let row = b"D\0\0\0\x0a\0\x01\0\0\0\0";
    for (before, is_busy) in [(b"".as_slice(), false), (row, true)] {
        let mut filter = start(POLICY);
        let running = session(&mut filter, API);
        filter.from_client(running, b"Q\0\0\0\x0dselect", false).unwrap();
        filter.set_unix_seconds(END);
        filter.tick(running).unwrap();
        let answer = [before, complaint].concat();
        let told = filter.from_server(running, &answer, false).unwrap().to_client;
        if is_busy {
            // Bytes of a row may look like anything.
            assert_eq!(told, answer);
            let last = filter.from_server(running, b"", true).unwrap().to_client;
            assert_eq!(error(&last)[&'C'], "57P01");
        } else {
            assert_eq!(error(&told)[&'C'], "57P01");
            assert_eq!(filter.from_server(running, b"", true).unwrap(), Progress::default());
        }
    }
}

#[test]
fn a_client_amid_a_message_is_told_once_postgres_is_ready() {
    let mut filter = start(POLICY);
    let running = session(&mut filter, API);
    filter.from_client(running, EXECUTE, false).unwrap();
    filter.set_unix_seconds(END);
    filter.tick(running).unwrap();
    for chunk in [b"".as_slice(), b"I", b"D\0\0\0\x0a\0\x01\0\0\0\0"] {
        assert_eq!(filter.from_server(running, chunk, false).unwrap().to_client, chunk);
    }
    let told = filter.from_server(running, READY, false).unwrap().to_client;
    assert_eq!(error(told.strip_prefix(READY).unwrap())[&'C'], "57P01");
    assert_eq!(filter.from_server(running, READY, false).unwrap(), Progress::default());
    filter.set_unix_seconds(END + 2);
    assert!(filter.tick(running).unwrap().closed);
}

#[test]
fn a_client_amid_a_message_that_leaves_is_followed_by_postgres() {
    let mut filter = start(POLICY);
    let running = session(&mut filter, API);
    filter.from_client(running, EXECUTE, false).unwrap();
    filter.set_unix_seconds(END);
    filter.tick(running).unwrap();
    assert_eq!(filter.from_client(running, b"\0", true).unwrap(), Progress::default());
    let told = filter.from_server(running, b"", true).unwrap().to_client;
    assert_eq!(error(&told)[&'C'], "57P01");
}

#[test]
fn a_row_of_a_copy_becomes_whole_and_the_copy_fails() {
    let row = b"d\0\0\0\x08row\n";
    let done = b"c\0\0\0\x04";
    for split in 5..row.len() {
        let mut filter = start(POLICY);
        let running = session(&mut filter, API);
        filter.from_client(running, &row[..split], false).unwrap();
        filter.set_unix_seconds(END);
        let expected = [&b"    "[split - 5..], FINISH].concat();
        assert_eq!(filter.tick(running).unwrap().to_server, expected);
        let more = [&row[split..], row, done].concat();
        assert_eq!(filter.from_client(running, &more, false).unwrap(), Progress::default());
        let told = filter.from_server(running, b"", true).unwrap().to_client;
        assert_eq!(error(&told)[&'C'], "57P01");
    }
}

#[test]
fn a_large_message_goes_on_as_blanks_until_it_can_be_made_whole() {
    const MEBI: usize = 1 << 20;
    let mut filter = start(POLICY);
    let running = session(&mut filter, API);
    let sent = [b"Q\0\x20\0\x04".as_slice(), b"select 1;"].concat();
    assert_eq!(filter.from_client(running, &sent, false).unwrap().to_server, sent);
    filter.set_unix_seconds(END);
    assert_eq!(filter.tick(running).unwrap(), Progress::default());
    let more = filter.from_client(running, &vec![b'x'; MEBI - 10], false).unwrap().to_server;
    assert!(more == vec![b' '; MEBI - 10]);
    let last = [vec![b' '; MEBI + 1], FINISH.to_vec()].concat();
    assert!(filter.from_client(running, b"x", false).unwrap().to_server == last);
    assert_eq!(filter.from_client(running, b"select 2", false).unwrap(), Progress::default());
    let complaint = b"E\0\0\0\x1dSERROR\0C08P01\0Minvalid\0\0\0Z\0\0\0\x05I";
    let told = filter.from_server(running, complaint, false).unwrap().to_client;
    assert_eq!(error(&told)[&'C'], "57P01");
}

/// A session that replicates.
fn replica() -> (PostgresFilter, Connection) {
    let policy =
        POLICY.replace(r#""max_session": 3600"#, r#""max_session": 3600, "replication": true"#);
    let mut filter = start(&policy);
    let asked = [("user", "api"), ("database", "customers"), ("replication", "database")];
    let (running, _) = open(&mut filter, API, &startup(&asked));
    filter.from_server(running, SESSION_START, false).unwrap();
    (filter, running)
}

/// A server that streams takes a `CopyFail` for no message that it knows.
#[test]
fn a_replica_s_server_is_asked_by_a_terminate_alone() {
    let (mut filter, running) = replica();
    filter.set_unix_seconds(END);
    assert_eq!(filter.tick(running).unwrap().to_server, TERMINATE);
    let told = filter.from_server(running, b"", true).unwrap().to_client;
    assert_eq!(error(&told)[&'C'], "57P01");
}

/// Spaces in place of what a replica says would be a position in its log.
#[test]
fn a_row_of_a_replica_stays_as_it_is() {
    let (mut filter, running) = replica();
    filter.from_client(running, b"d\0\0\0\x08r", false).unwrap();
    filter.set_unix_seconds(END);
    assert_eq!(filter.tick(running).unwrap(), Progress::default());
    assert_eq!(filter.from_client(running, b"\0\0\0", false).unwrap(), Progress::default());
}

#[test]
fn a_server_that_does_not_finish_in_time_is_cut_off() {
    let mut filter = start(POLICY);
    let [busy, silent] = [session(&mut filter, API), session(&mut filter, API)];
    filter.set_unix_seconds(END);
    filter.tick(busy).unwrap();
    // It has more queries to answer, whose answers the client shall have.
    assert_eq!(filter.from_server(busy, READY, false).unwrap().to_client, READY);
    filter.set_unix_seconds(END + 10);
    assert_eq!(filter.tick(busy).unwrap(), Progress::default());
    let told = filter.from_server(busy, READY, false).unwrap().to_client;
    assert_eq!(error(told.strip_prefix(READY).unwrap())[&'C'], "57P01");
    filter.set_unix_seconds(END + 44);
    assert!(filter.tick(busy).unwrap().closed);
    assert!(!filter.tick(silent).unwrap().closed);
    filter.set_unix_seconds(END + 45);
    assert!(filter.tick(silent).unwrap().closed);
}

#[test]
fn a_newer_policy_ends_the_sessions_that_it_does_not_allow() {
    let mut filter = start(POLICY);
    let api = session(&mut filter, API);
    let report = session(&mut filter, REPORT);
    filter.configure(b"not a policy").unwrap_err();
    assert_eq!(filter.tick(report).unwrap(), Progress::default());
    filter.configure(POLICY.replace("example.org/report", "example.org/other").as_bytes()).unwrap();
    assert_eq!(filter.tick(report).unwrap().to_server, FINISH);
    assert_eq!(filter.tick(api).unwrap(), Progress::default());
    assert_eq!(filter.metric("signet_postgres_sessions_ended"), Some(1));
}

#[test]
fn the_sessions_of_a_withdrawn_database_end_and_nobody_is_let_in() {
    let mut filter = start(POLICY);
    let running = session(&mut filter, API);
    let workload = r#""workload":"#;
    let id = "spiffe://example.org/db";
    assert!(POLICY.contains(workload) && POLICY.contains(id));
    // Rules count for nothing then.
    let withdrawn = POLICY.replacen('{', &format!(r#"{{"withdrawn": ["{id}"], "#), 1);
    filter.configure(withdrawn.as_bytes()).unwrap();
    assert_eq!(filter.tick(running).unwrap().to_server, FINISH);
    let told = filter.from_server(running, b"", true).unwrap().to_client;
    assert_eq!(
        (&error(&told)[&'C'], &error(&told)[&'M']),
        (
            &"57P01".to_owned(),
            &"signet: session ended: the identity of the database's workload is withdrawn"
                .to_owned()
        )
    );
    let packet = startup(&[("user", "api"), ("database", "customers")]);
    let (_, refused) = open(&mut filter, API, &packet);
    let told = error(&refused.to_client);
    assert_eq!(told[&'C'], "28000");
    assert!(told[&'M'].contains("withdrawn"), "{told:?}");
    filter.configure(POLICY.as_bytes()).unwrap();
    session(&mut filter, API);
}

#[test]
fn a_newer_policy_ends_the_sessions_that_it_gives_another_role() {
    let mut filter = start(POLICY);
    let [api, report] = [API, REPORT].map(|peer| session(&mut filter, peer));
    let other = r#""login_role": "customers_reader""#;
    let other = POLICY.replace(other, r#""login_role": "reporter""#);
    filter.configure(other.as_bytes()).unwrap();
    assert_eq!(filter.tick(api).unwrap(), Progress::default());
    assert_eq!(filter.tick(report).unwrap().to_server, FINISH);
    let told = filter.from_server(report, b"", true).unwrap().to_client;
    assert_eq!(error(&told)[&'C'], "57P01");
    assert_eq!(error(&told)[&'M'], "signet: session ended: the policy gives it another role");
}
