//! `pg_role.wasm`, as built, between a client and an imagined Postgres.

mod audit;
mod cancelling;
mod decisions;
mod ending;
mod fuzz;
mod fuzz_sessions;
#[path = "../modules/mod.rs"]
mod modules;
mod opening;
mod server;

use std::collections::BTreeMap;

use wasm_host::{Connection, PostgresFilter, Progress};

const POLICY: &str = r#"{
    "format": 1,
    "workload": "spiffe://example.org/db",
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
