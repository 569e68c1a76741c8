//! Sessions that lose their reason.

use wasm_host::Progress;

use super::{API, NOW, POLICY, REPORT, SESSION_START, error, open, session, start, startup};

/// When the session of [`API`] has lasted as long as its rule lets it.
const END: u64 = NOW + 3600;
/// `CopyFail` and `Terminate`.
const FINISH: &[u8] = b"f\0\0\0\x1asignet: session ended\0X\0\0\0\x04";
const READY: &[u8] = b"Z\0\0\0\x05I";

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
fn a_message_that_has_begun_is_never_completed() {
    let query = b"Q\0\0\0\x0dselect 1\0";
    for split in 0..=query.len() {
        let mut filter = start(POLICY);
        let running = session(&mut filter, API);
        let sent = [query.as_slice(), &query[..split]].concat();
        assert_eq!(filter.from_client(running, &sent, false).unwrap().to_server, sent);
        filter.set_unix_seconds(END);
        let is_whole = split % query.len() == 0;
        let expected: &[u8] = if is_whole { FINISH } else { b"" };
        assert_eq!(filter.tick(running).unwrap().to_server, expected, "split at {split}");
        let more = filter.from_client(running, &query[split..], false).unwrap();
        assert_eq!(more, Progress::default(), "split at {split}");
    }
}

#[test]
fn a_message_that_came_with_the_start_up_counts() {
    let packet = startup(&[("user", "api"), ("database", "customers")]);
    for (behind, expected) in [(b"S\0\0\0\x04".as_slice(), FINISH), (b"S\0\0\0", b"")] {
        let mut filter = start(POLICY);
        let (connection, _) = open(&mut filter, API, &[packet.as_slice(), behind].concat());
        filter.from_server(connection, SESSION_START, false).unwrap();
        filter.set_unix_seconds(END);
        assert_eq!(filter.tick(connection).unwrap().to_server, expected, "{behind:?}");
    }
}

#[test]
fn a_client_amid_a_message_is_told_once_postgres_is_ready() {
    let mut filter = start(POLICY);
    let running = session(&mut filter, API);
    filter.from_client(running, b"Q\0\0\0\x0dselect", false).unwrap();
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
    filter.from_client(running, b"Q\0\0", false).unwrap();
    filter.set_unix_seconds(END);
    filter.tick(running).unwrap();
    assert_eq!(filter.from_client(running, b"\0", true).unwrap(), Progress::default());
    let told = filter.from_server(running, b"", true).unwrap().to_client;
    assert_eq!(error(&told)[&'C'], "57P01");
}

#[test]
fn a_row_of_a_copy_becomes_whole_and_no_more_follows() {
    let row = b"d\0\0\0\x08row\n";
    let done = b"c\0\0\0\x04";
    for split in 5..row.len() {
        let mut filter = start(POLICY);
        let running = session(&mut filter, API);
        filter.from_client(running, &row[..split], false).unwrap();
        filter.set_unix_seconds(END);
        assert_eq!(filter.tick(running).unwrap(), Progress::default());
        let (first, last) = row[split..].split_at((row.len() - split) / 2);
        assert_eq!(filter.from_client(running, first, false).unwrap().to_server, first);
        let more = [last, row, done].concat();
        let expected = [last, FINISH].concat();
        assert_eq!(filter.from_client(running, &more, false).unwrap().to_server, expected);
        assert_eq!(filter.from_client(running, done, false).unwrap(), Progress::default());
        let told = filter.from_server(running, b"", true).unwrap().to_client;
        assert_eq!(error(&told)[&'C'], "57P01");
    }
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
    filter.set_unix_seconds(END + 14);
    assert!(filter.tick(busy).unwrap().closed);
    assert!(!filter.tick(silent).unwrap().closed);
    filter.set_unix_seconds(END + 15);
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
