//! Mutated start-ups, in pieces: none traps the filter, and what reaches Postgres means there what the policy allows.
//!
//! The test command takes some thousands; `SIGNET_FUZZ_INPUTS=1000000` makes it as many, with the same seed.

use wasm_host::PostgresFilter;

use super::{
    API, GSSENC_REQUEST, POLICY, REPORT, SSL_REQUEST, STRANGER,
    server::{Postmaster, Seen},
    session, start, startup,
};

/// Inputs to one filter, which keeps its log.
const TO_EACH: usize = 10_000;

/// What mutations are made of.
const PIECES: &[&[u8]] = &[
    b"\0",
    b"\0\0",
    b"user",
    b"user\0postgres\0",
    b"database",
    b"database\0postgres\0",
    b"options\0",
    b"-c role=x",
    b"--Role=x",
    b"role\0postgres\0",
    b"ROLE\0x\0",
    b"session_authorization\0x\0",
    b"search_path\0x\0",
    b"replication\0true\0",
    b"_pq_.",
    b"signet.spiffe_id\0forged\0",
    b"\\",
    b"=",
    b"-",
    b" ",
    b"\x0b",
    b"\xff",
    b"\xc3\xa9",
    b"\x7f\xff\xff\xff",
    b"\0\0\0\x08",
    b"\0\x03\0\0",
    b"\0\x03\0\x02",
    b"\0\x02\0\0",
    SSL_REQUEST,
    GSSENC_REQUEST,
    b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\x01\x02abcd",
];

const PARAMETERS: &[(&str, &str)] = &[
    ("user", "api"),
    ("user", "customers_reader"),
    ("user", "postgres"),
    ("user", ""),
    ("User", "postgres"),
    ("database", "customers"),
    ("database", "customers"),
    ("database", "postgres"),
    ("database", ""),
    ("application_name", "x"),
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO"),
    ("TIMEZONE", "UTC"),
    ("options", "-c lock_timeout=1s"),
    ("options", "--lock-timeout=1s -cDateStyle=ISO"),
    ("options", "-c role=x"),
    ("options", r"--r\ole=x"),
    ("options", "-c  role=x"),
    ("role", "postgres"),
    ("RoLe", "postgres"),
    ("session_authorization", "postgres"),
    ("search_path", "x"),
    ("replication", "true"),
    ("replication", "database"),
    ("_pq_.x", "y"),
    ("signet.spiffe_id", "forged"),
    ("SIGNET.rule", "forged"),
];

/// What a session of these tests may have set: what any client may, the rule's own, and ours.
const SETTINGS: &[&str] = &[
    "client_encoding",
    "datestyle",
    "timezone",
    "intervalstyle",
    "extra_float_digits",
    "application_name",
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "signet.spiffe_id",
    "signet.rule",
];

/// A small generator (xorshift) instead of a dependency.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(end).unwrap()).unwrap()
    }

    pub(crate) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn client_bytes(&mut self) -> Vec<u8> {
        let mut parameters = vec![("user", "api"), ("database", "customers")];
        for _ in 0..self.below(5) {
            parameters.push(self.one_of(PARAMETERS));
        }
        let mut bytes = match self.below(12) {
            0 => [SSL_REQUEST, &startup(&parameters)].concat(),
            1 => b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\x01\x02abcd".to_vec(),
            _ => startup(&parameters),
        };
        if self.below(4) == 0 {
            bytes[7] = self.one_of(&[0, 2, 15]);
        }
        let mend = self.below(2) == 0;
        for _ in 0..self.below(4) {
            let at = self.below(bytes.len());
            let piece = self.one_of(PIECES);
            match self.below(4) {
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes.truncate(at.max(8)),
                2 => {
                    bytes.splice(at..at, piece.iter().copied());
                }
                _ => {
                    let end = (at + piece.len()).min(bytes.len());
                    bytes.splice(at..end, piece.iter().copied());
                }
            }
        }
        if mend {
            // Else most would end at the wrong length.
            let length = u32::try_from(bytes.len()).unwrap();
            bytes[..4].copy_from_slice(&length.to_be_bytes());
        }
        bytes
    }
}

/// Sends the bytes in pieces, and lets Postgres answer; what it has seen.
fn converse(
    filter: &mut PostgresFilter,
    peer: &str,
    bytes: &[u8],
    chance: &mut Chance,
) -> Option<Seen> {
    let mut postmaster = Postmaster::default();
    let connection = filter.connect(Some(peer.as_bytes())).unwrap();
    let mut rest = bytes;
    while !rest.is_empty() {
        let size =
            if chance.below(2) == 0 { rest.len() } else { 1 + chance.below(rest.len().min(20)) };
        let (piece, after) = rest.split_at(size);
        rest = after;
        let mut progress = filter.from_client(connection, piece, false).unwrap();
        while !progress.closed && !progress.to_server.is_empty() {
            let answer = postmaster.receive(&progress.to_server);
            if answer.is_empty() {
                break;
            }
            progress = filter.from_server(connection, answer, false).unwrap();
        }
        if progress.closed {
            break;
        }
    }
    filter.disconnect(connection).unwrap();
    postmaster.seen
}

/// Whether this is what the policy lets the peer have.
fn is_allowed(peer: &str, seen: &Seen) -> bool {
    let Seen::Session { user, database, replicates, settings } = seen else {
        // The one session that is running is the API's.
        return *seen == Seen::Refused
            || (peer == API && *seen == Seen::Cancel(b"\0\0\x01\x02abcd".to_vec()));
    };
    let roles: &[&[u8]] =
        if peer == API { &[b"api", b"customers_reader"] } else { &[b"customers_reader"] };
    let of = |wanted: &str| {
        settings.iter().rfind(|(name, _)| name == wanted).map(|(_, value)| value.as_slice())
    };
    let id = peer.split('|').nth(1).unwrap();
    roles.contains(&user.as_slice())
        && database == b"customers"
        && !replicates
        && settings.iter().all(|(name, _)| SETTINGS.contains(&name.as_str()))
        && of("signet.spiffe_id") == Some(id.as_bytes())
        && of("signet.rule") == Some(if peer == API { b"api" } else { b"report" })
}

#[test]
fn what_reaches_postgres_means_what_the_policy_allows() {
    let wanted = std::env::var("SIGNET_FUZZ_INPUTS").ok().and_then(|count| count.parse().ok());
    let wanted: usize = wanted.unwrap_or(20_000);
    let mut chance = Chance(0x2545_f491_4f6c_dd1d);
    let (mut sessions, mut cancels) = (0, 0);
    for first in (0..wanted).step_by(TO_EACH) {
        let mut filter = start(POLICY);
        session(&mut filter, API);
        for number in first..wanted.min(first + TO_EACH) {
            let peer = [API, API, REPORT, STRANGER, "-|-"][number % 5];
            let bytes = chance.client_bytes();
            let seen = converse(&mut filter, peer, &bytes, &mut chance);
            let case = || format!("{peer}: {}: {seen:?}", bytes.escape_ascii());
            match &seen {
                None => continue,
                Some(_) if ![API, REPORT].contains(&peer) => panic!("a stranger's: {}", case()),
                Some(seen) => assert!(is_allowed(peer, seen), "{}", case()),
            }
            sessions += usize::from(matches!(seen, Some(Seen::Session { .. })));
            cancels += usize::from(matches!(seen, Some(Seen::Cancel(_))));
        }
    }
    println!("{wanted} inputs, {sessions} sessions, {cancels} cancels");
    // Else the oracle would have had nothing to say.
    assert!(sessions > wanted / 40 && cancels > wanted / 500, "{sessions} {cancels}");
}

/// The oracle notices what the filter is there for.
#[test]
fn without_the_filter_the_oracle_would_object() {
    for parameters in [
        &[("user", "postgres"), ("database", "customers")][..],
        &[("user", "api"), ("database", "postgres")],
        &[("user", "api"), ("database", "customers"), ("Role", "postgres")],
        &[("user", "api"), ("database", "customers"), ("options", "-c role=x")],
        &[("user", "api"), ("database", "customers"), ("replication", "true")],
        &[("user", "api"), ("database", "customers")],
    ] {
        let mut postmaster = Postmaster::default();
        postmaster.receive(&startup(parameters));
        assert!(!is_allowed(API, &postmaster.seen.unwrap()), "{parameters:?}");
    }
}
