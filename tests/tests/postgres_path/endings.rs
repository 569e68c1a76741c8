//! Sessions end when their reason ends, whatever they are at, and their clients read why.

use std::time::{Duration, Instant};

use e2e::{
    FetchedSvid, Mesh, PATIENCE, PostgresVersion, Workload,
    startup::{field, query},
    until,
};
use tokio::task::JoinSet;

use crate::scene::{LastWord, POLICY, Wire, counted, mesh, no_backends, svid};

/// What a session is at when its end comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Nothing.
    Rest,
    /// One small query after another.
    Work,
    /// Queries that take a while.
    LongQueries,
    /// A query of which a part has been sent: some of its header, or its header and some of its text.
    PartOfQuery(usize),
    /// A statement of the extended protocol of which a part has been sent.
    PartOfStatement,
    /// A row of a COPY of which a part has been sent.
    PartOfRow,
    /// A COPY whose rows keep coming.
    Copy,
}

const ALL: [At; 9] = [
    At::Rest,
    At::Work,
    At::LongQueries,
    At::PartOfQuery(1),
    At::PartOfQuery(4),
    At::PartOfQuery(20),
    At::PartOfStatement,
    At::PartOfRow,
    At::Copy,
];

/// What would leave a trace, were it ever completed.
const TRACE: &str =
    "insert into customers (name, email) values ('trace', 'trace@customers.example')";
const COPY: &str = "copy customers (name, email) from stdin";

/// Between two queries or rows, so that one session leaves something to others.
const BREATH: Duration = Duration::from_millis(5);

/// The life of a certificate that shall expire: many times what it takes to open all sessions.
const SHORT: &str = "10s";

fn row(number: u32) -> Vec<u8> {
    format!("trace\ttrace{number}@customers.example\n").into_bytes()
}

/// A message of this type.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[kind], length.as_slice(), body].concat()
}

impl At {
    /// Is at it until the session has ended: its last word.
    async fn lasts(self, mut wire: Wire) -> Option<LastWord> {
        match self {
            Self::Rest => {}
            Self::Work => return repeats("select 1", wire).await,
            Self::LongQueries => return repeats("select pg_sleep(2)", wire).await,
            Self::PartOfQuery(size) => {
                let whole = query(TRACE);
                wire.send(&whole[..size]).await;
                return with_the_rest(wire, &whole[size..]).await;
            }
            Self::PartOfStatement => {
                let whole = message(b'P', &[b"\0", TRACE.as_bytes(), b"\0\0\0"].concat());
                wire.send(&whole[..40]).await;
                let execution = b"B\0\0\0\x0c\0\0\0\0\0\0\0\0E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04";
                return with_the_rest(wire, &[&whole[40..], execution].concat()).await;
            }
            Self::PartOfRow => {
                let row = message(b'd', &row(0));
                wire.send(&[&query(COPY), &row[..8]].concat()).await;
                return with_the_rest(wire, &[&row[8..], &message(b'c', b"")].concat()).await;
            }
            Self::Copy => {
                wire.send(&query(COPY)).await;
                return copies(wire).await;
            }
        }
        wire.last_word().await
    }
}

/// The same query again and again.
async fn repeats(sql: &str, mut wire: Wire) -> Option<LastWord> {
    loop {
        wire.send(&query(sql)).await;
        loop {
            match wire.read().await? {
                (b'Z', _) => {
                    tokio::time::sleep(BREATH).await;
                    break;
                }
                (b'E', body) => return Some(crate::scene::word(&body)),
                _ => {}
            }
        }
    }
}

/// When the last word has come, sends what was missing: it goes nowhere.
async fn with_the_rest(mut wire: Wire, rest: &[u8]) -> Option<LastWord> {
    let mut last = None;
    while let Some((kind, body)) = wire.read().await {
        if kind == b'E' {
            last = Some(crate::scene::word(&body));
            wire.send(rest).await;
        }
    }
    last
}

/// Rows until there is an answer.
async fn copies(wire: Wire) -> Option<LastWord> {
    let (mut reader, mut writer) = tokio::io::split(wire.stream);
    let writing = tokio::spawn(async move {
        for number in 0.. {
            let row = message(b'd', &row(number));
            if tokio::io::AsyncWriteExt::write_all(&mut writer, &row).await.is_err() {
                break;
            }
            tokio::time::sleep(BREATH).await;
        }
    });
    let mut last = None;
    while let Ok((kind, body)) = e2e::startup::read_message(&mut reader).await {
        if kind == b'E' && field(&body, b'S') == "FATAL" {
            last = Some(crate::scene::word(&body));
        }
    }
    writing.abort();
    last
}

/// Sessions at everything, each of which ends on its own.
async fn sessions(mesh: &Mesh, svid: &FetchedSvid) -> JoinSet<(At, Option<LastWord>)> {
    let mut sessions = JoinSet::new();
    for at in ALL {
        let wire = Wire::session_as(mesh, svid, "customers_writer").await;
        sessions.spawn(async move { (at, at.lasts(wire).await) });
    }
    sessions
}

/// All of them have read why.
async fn have_read(mut sessions: JoinSet<(At, Option<LastWord>)>, why: &str) {
    while let Some(ended) = sessions.join_next().await {
        let (at, word) = ended.unwrap();
        let word = word.unwrap_or_else(|| panic!("{at:?}: no word"));
        assert_eq!(word.sqlstate, "57P01", "{at:?}: {word:?}");
        assert_eq!(word.message, format!("signet: session ended: {why}"), "{at:?}");
        assert_eq!(word.hint, "connect again", "{at:?}");
    }
}

/// More of a query is missing than the filter makes up, and comes when its session has ended.
async fn a_large_query_has_read(mesh: &Mesh, why: &str) {
    let before = counted(mesh, "sessions_ended").await;
    let mut wire = Wire::session_as(mesh, &svid(mesh, Workload::Api), "customers_writer").await;
    let whole = query(&format!("{TRACE}{}", " ".repeat(3 << 20)));
    let (part, rest) = whole.split_at(1 << 20);
    wire.send(part).await;
    until("the session is ended", PATIENCE, async || {
        anyhow::ensure!(counted(mesh, "sessions_ended").await > before);
        Ok(())
    })
    .await
    .unwrap();
    wire.send(rest).await;
    let word = wire.last_word().await.expect("no word");
    assert_eq!(word.sqlstate, "57P01", "{word:?}");
    assert_eq!(word.message, format!("signet: session ended: {why}"));
}

async fn nothing_was_completed(mesh: &Mesh) {
    no_backends(mesh).await;
    let traces = "select count(*) from customers where name = 'trace'";
    assert_eq!(mesh.postgres.sql(&mesh.stage, "customers", traces).unwrap(), "0");
}

async fn logged_as(mesh: &Mesh, reason: &str) {
    let envoy = &mesh.sidecar(Workload::Db).envoy;
    until("all sessions are logged", PATIENCE, async || {
        let lines = envoy.access_log();
        let found = lines.iter().filter(|line| line["end"] == reason).count();
        anyhow::ensure!(found == ALL.len(), "{found} of {}", ALL.len());
        Ok(())
    })
    .await
    .unwrap();
}

/// First the certificate that opened them expires; a session that its rule keeps stays. Then the policy is edited.
async fn sessions_end_with_their_reason(version: PostgresVersion) {
    let mesh = mesh(version, POLICY).await;
    let agent = mesh.source.dev_agent().unwrap();
    let mut kept = {
        let short = agent.mint(&mesh.stage, Workload::Report, &["--ttl", SHORT]).unwrap();
        Wire::session(&mesh, &short).await
    };
    let short = agent.mint(&mesh.stage, Workload::Api, &["--ttl", SHORT]).unwrap();
    let expiring = sessions(&mesh, &short).await;
    have_read(expiring, "the certificate that opened it has expired").await;
    assert!(std::time::SystemTime::now() > short.leaf().unwrap().not_after);
    nothing_but(&mesh, 1).await;
    logged_as(&mesh, "svid_expired").await;
    assert_eq!(kept.value("select session_user").await, "customers_reader");

    // A whole certificate, and a policy that no longer allows it.
    let running = sessions(&mesh, &svid(&mesh, Workload::Api)).await;
    let edited = Instant::now();
    mesh.policy
        .edit(
            "    login_role: customers_writer\n    may_act_as: [customers_reader]",
            "    login_role: customers_reader\n    may_act_as: [api]",
        )
        .unwrap();
    have_read(running, "the policy no longer allows it").await;
    assert!(edited.elapsed() < Duration::from_mins(1), "{:?}", edited.elapsed());
    nothing_but(&mesh, 1).await;
    logged_as(&mesh, "policy_denies").await;
    assert_eq!(kept.value("select session_user").await, "customers_reader");
    assert_eq!(counted(&mesh, "sessions_ended").await, 2 * ALL.len() as u64);
    drop(kept);
    nothing_was_completed(&mesh).await;
}

async fn nothing_but(mesh: &Mesh, kept: u64) {
    until("the sessions are gone", PATIENCE, async || {
        let found = counted(mesh, "connections").await;
        anyhow::ensure!(found == kept, "{found}");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_end_with_their_reason_in_postgres_15() {
    sessions_end_with_their_reason(PostgresVersion::V15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_end_with_their_reason_in_postgres_18() {
    sessions_end_with_their_reason(PostgresVersion::V18).await;
}

/// Through the client's Envoy, and by the clock of the rule.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_last_no_longer_than_their_rule_lets_them() {
    let policy =
        POLICY.replace("    client_parameters", "    max_session: 4s\n    client_parameters");
    let mesh = mesh(PostgresVersion::V18, &policy).await;
    let began = Instant::now();
    let running = sessions(&mesh, &svid(&mesh, Workload::Api)).await;
    let directory = &mesh.sidecar(Workload::Api).directory;
    let client = e2e::postgres::connect(directory, "customers_writer", "customers").await.unwrap();
    // A pool would throw it away, and connect again.
    let error = until("the session ends", PATIENCE, async || {
        match client.execute("select pg_sleep(0.05)", &[]).await {
            Ok(_) => anyhow::bail!("it runs"),
            Err(error) => Ok(error),
        }
    })
    .await
    .unwrap();
    let code = error.code().map(tokio_postgres::error::SqlState::code);
    assert!(code == Some("57P01") || error.is_closed(), "{error:?}");
    have_read(running, "it has lasted as long as it may").await;
    a_large_query_has_read(&mesh, "it has lasted as long as it may").await;
    assert!(began.elapsed() >= Duration::from_secs(3), "{:?}", began.elapsed());
    nothing_was_completed(&mesh).await;
    let again = e2e::postgres::connect(directory, "customers_writer", "customers").await.unwrap();
    again.execute("select 1", &[]).await.unwrap();
}
