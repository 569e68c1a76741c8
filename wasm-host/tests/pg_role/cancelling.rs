//! Queries that outlive their session.

use wasm_host::{Connection, PostgresFilter, Progress};

use super::{
    API, POLICY, REPORT,
    ending::{END, READY},
    error, session, start,
};

/// The session's own key, in a packet that cancels.
const CANCEL: &[u8] = b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\x01\x02abcd";

/// A session whose query is cancelled at last.
fn cancelled() -> (PostgresFilter, Connection) {
    let mut filter = start(POLICY);
    filter.set_http_cluster("cancel");
    let running = session(&mut filter, API);
    filter.from_client(running, b"Q\0\0\0\x0dselect 1\0", false).unwrap();
    for seconds in [0, 10] {
        filter.set_unix_seconds(END + seconds);
        filter.tick(running).unwrap();
    }
    assert_eq!(filter.posted(running), b"", "too early");
    filter.set_unix_seconds(END + 45);
    assert_eq!(filter.tick(running).unwrap(), Progress::default());
    assert_eq!(filter.posted(running), CANCEL);
    (filter, running)
}

#[test]
fn a_query_that_goes_on_is_cancelled_and_its_client_told_why() {
    let row = b"D\0\0\0\x0a\0\x01\0\0\0\0".as_slice();
    let error_of_postgres = b"E\0\0\0\x20SERROR\0VERROR\0C57014\0Mover\0\0".as_slice();
    for before in [b"".as_slice(), row] {
        for behind in [b"".as_slice(), READY] {
            let answer = [before, error_of_postgres, behind].concat();
            for split in 0..before.len() + error_of_postgres.len() {
                let (mut filter, running) = cancelled();
                let mut told = Vec::new();
                for chunk in [&answer[..split], &answer[split..]] {
                    told.extend(filter.from_server(running, chunk, false).unwrap().to_client);
                }
                assert_eq!(error(told.strip_prefix(before).unwrap())[&'C'], "57P01");
                let more = filter.from_server(running, READY, true).unwrap();
                assert_eq!(more, Progress::default());
                filter.set_unix_seconds(END + 47);
                assert!(filter.tick(running).unwrap().closed);
            }
        }
    }
}

#[test]
fn a_query_that_ends_before_it_is_cancelled_is_told_behind_its_end() {
    let begun = b"E\0\0\0\x20SERR".as_slice();
    for (last, end) in [(b"C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I".as_slice(), false), (begun, true)] {
        let (mut filter, running) = cancelled();
        let told = filter.from_server(running, last, end).unwrap().to_client;
        assert_eq!(error(told.strip_prefix(last).unwrap())[&'C'], "57P01");
    }
}

#[test]
fn a_query_that_cannot_be_cancelled_is_cut_off() {
    let (mut filter, running) = cancelled();
    filter.set_unix_seconds(END + 49);
    assert!(!filter.tick(running).unwrap().closed);
    filter.set_unix_seconds(END + 50);
    assert!(filter.tick(running).unwrap().closed);
}

/// Postgres may be at what the client had sent ahead.
#[test]
fn what_runs_when_its_connection_closes_is_cancelled_after_that() {
    let row = b"D\0\0\0\x0a\0\x01\0\0\0\0".as_slice();
    let over = b"E\0\0\0\x20SERROR\0VERROR\0C57014\0Mover\0\0".as_slice();
    for (silent_for, word, closed_at) in
        [(10, Some(READY), 12), (45, Some(over), 47), (45, Some(row), 50), (45, None, 50)]
    {
        let mut filter = start(POLICY);
        filter.set_http_cluster("cancel");
        let running = session(&mut filter, API);
        filter.from_client(running, &b"Q\0\0\0\x0dselect 1\0".repeat(3), false).unwrap();
        for seconds in (0..=silent_for).step_by(5) {
            filter.set_unix_seconds(END + seconds);
            filter.tick(running).unwrap();
        }
        if let Some(word) = word {
            filter.from_server(running, word, false).unwrap();
        }
        filter.set_unix_seconds(END + closed_at);
        assert!(filter.tick(running).unwrap().closed, "{closed_at}");
        assert_eq!(filter.posted_by_root(), b"", "Postgres could not see yet that nobody listens");
        filter.disconnect(running).unwrap();
        let other = session(&mut filter, REPORT);
        filter.tick(other).unwrap();
        assert_eq!(filter.posted_by_root(), CANCEL, "{closed_at}");
    }
}

#[test]
fn a_client_that_leaves_at_its_end_leaves_nothing_running() {
    for (ended, postgres_left, left) in
        [(true, false, CANCEL), (true, true, b""), (false, false, b""), (false, true, b"")]
    {
        let mut filter = start(POLICY);
        filter.set_http_cluster("cancel");
        let [leaves, stays] = [API, REPORT].map(|peer| session(&mut filter, peer));
        filter.from_client(leaves, b"Q\0\0\0\x0dselect 1\0", false).unwrap();
        if ended {
            filter.set_unix_seconds(END);
            filter.tick(stays).unwrap();
        }
        if postgres_left {
            filter.from_server(leaves, b"", true).unwrap();
        }
        filter.disconnect(leaves).unwrap();
        filter.tick(stays).unwrap();
        assert_eq!(filter.posted_by_root(), left, "{ended} {postgres_left}");
    }
}
