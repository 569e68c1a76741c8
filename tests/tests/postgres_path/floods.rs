//! What never becomes a session leaves nothing behind; and a resumed TLS session gets in with nothing.
//!
//! The test command opens some hundred half-open connections; `SIGNET_HALF_OPEN=10000` makes it as many, in waves.

use std::time::Duration;

use e2e::{
    FetchedSvid, Mesh, MeshPlan, PATIENCE, PostgresVersion, SourceKind, Workload,
    bootstrap::holders,
    startup::{Answer, ask, message, read_byte, ssl_request},
    tls::TlsCaller,
    until,
};
use tokio::{io::AsyncReadExt, net::TcpStream};

use crate::scene::{POLICY, Wire, counted, mesh, no_backends, svid};

/// Connections of a stranger that are half open at the same time.
const WAVE: usize = 250;
/// Those of a workload that has a rule, beside them. One in five asks Postgres for encryption, and so costs a backend.
const WAVE_WITH_A_RULE: usize = 25;
/// Both deadlines and the timer, on a busy machine.
const END_OF_ALL: Duration = Duration::from_mins(1);

/// One half-open connection, for as long as it is held.
enum HalfOpen {
    /// Not a byte of TLS, or some that are none.
    Tcp(TcpStream),
    Tls(Box<Wire>),
}

impl HalfOpen {
    async fn open(mesh: &Mesh, svid: &FetchedSvid, number: usize) -> Self {
        let plain = async || TcpStream::connect(mesh.ingress(Workload::Db)).await.unwrap();
        let packet = message(&[("user", "api"), ("database", "customers")]);
        match number % 5 {
            0 => Self::Tcp(plain().await),
            1 => {
                // The first bytes of a ClientHello of 512 bytes.
                let stream = plain().await;
                stream.writable().await.unwrap();
                stream.try_write(&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]).unwrap();
                Self::Tcp(stream)
            }
            2 => Self::Tls(Box::new(Wire::connect(mesh, svid).await)),
            3 => {
                let mut wire = Wire::connect(mesh, svid).await;
                wire.send(&packet[..packet.len() - 1]).await;
                Self::Tls(Box::new(wire))
            }
            _ => {
                let mut wire = Wire::connect(mesh, svid).await;
                wire.send(&ssl_request()).await;
                assert_eq!(read_byte(&mut wire.stream).await.unwrap(), b'N');
                Self::Tls(Box::new(wire))
            }
        }
    }

    /// Waits until the other side has closed it.
    async fn ended(self) {
        let mut rest = Vec::new();
        // With an error or without.
        let _ = match self {
            Self::Tcp(mut stream) => stream.read_to_end(&mut rest).await,
            Self::Tls(mut wire) => wire.stream.read_to_end(&mut rest).await,
        };
        assert_eq!(rest, b"");
    }
}

async fn nothing_is_left(mesh: &Mesh) {
    let envoy = &mesh.sidecar(Workload::Db).envoy;
    until("nothing is left", PATIENCE, async || {
        let left = [
            envoy.stat_sum("tcp.ingress.downstream_cx_active").await?,
            envoy.stat_sum("listener.*_[0-9]+.downstream_cx_active").await?,
            envoy.stat_sum("cluster.(postgres|deny).upstream_cx_active").await?,
            counted(mesh, "connections").await,
        ];
        anyhow::ensure!(left == [0; 4], "{left:?}");
        Ok(())
    })
    .await
    .unwrap();
    no_backends(mesh).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_open_connections_leave_nothing_behind() {
    let wanted = std::env::var("SIGNET_HALF_OPEN").ok().and_then(|count| count.parse().ok());
    let waves: usize = wanted.unwrap_or(2 * WAVE).div_ceil(WAVE);
    let mesh = mesh(PostgresVersion::V15, POLICY).await;
    let by_others = || {
        mesh.postgres.backends_forked()
            - mesh.postgres.log().matches("application_name=psql").count()
    };
    let forked = by_others();
    let [stranger, report] = [Workload::Client, Workload::Report].map(|it| svid(&mesh, it));
    let mut memory = Vec::new();
    for _ in 0..waves {
        let mut held = Vec::new();
        for number in 0..WAVE {
            held.push(HalfOpen::open(&mesh, &stranger, number).await);
        }
        for number in 0..WAVE_WITH_A_RULE {
            held.push(HalfOpen::open(&mesh, &report, number).await);
        }
        assert!(counted(&mesh, "connections").await > 0);
        let ended = async {
            for connection in held {
                connection.ended().await;
            }
        };
        tokio::time::timeout(END_OF_ALL, ended).await.expect("some never end");
        nothing_is_left(&mesh).await;
        memory.push(mesh.sidecar(Workload::Db).envoy.resident_memory().unwrap());
    }
    // Strangers cost Postgres nothing.
    let backends = waves * WAVE_WITH_A_RULE / 5;
    assert_eq!(by_others(), forked + backends);
    assert_eq!(counted(&mesh, "denied_after_relay").await, backends as u64);
    let envoy = &mesh.sidecar(Workload::Db).envoy;
    for workload in [Workload::Client, Workload::Report] {
        let id = workload.spiffe_id();
        let overdue = |line: &serde_json::Value| {
            line["reason"] == "startup_overdue" && line["spiffe_id"] == id.as_str()
        };
        envoy.logged(0, overdue).await.unwrap();
    }
    // Whoever has a rule still gets in.
    let mut wire = Wire::session(&mesh, &svid(&mesh, Workload::Report)).await;
    assert_eq!(wire.value("select 1").await, "1");
    println!("resident KiB after each {WAVE} half-open connections: {memory:?}");
    let (first, last) = (memory[0], memory[memory.len() - 1]);
    assert!(last < first + 16 * 1024, "{memory:?}");
}

/// The same certificate before and after its end, on one TLS client that resumes what it can: did it get in, and how.
async fn returns_after_expiry(mesh: &Mesh) -> [bool; 3] {
    let agent = mesh.source.dev_agent().unwrap();
    let svid = agent.mint(&mesh.stage, Workload::Report, &["--ttl", "5s"]).unwrap();
    let caller = TlsCaller::new(Some(&svid), "postgresql").unwrap();
    let ingress = mesh.ingress(Workload::Db);
    let packet = message(&[("user", "report"), ("database", "customers")]);
    let mut first = caller.connect(ingress).await.unwrap().stream;
    let before = ask(&mut first, &[&packet]).await.unwrap() == Answer::Welcome;
    svid.expired().await.unwrap();
    let Ok(second) = caller.connect(ingress).await else { return [before, false, false] };
    let mut stream = second.stream;
    let after = ask(&mut stream, &[&packet]).await;
    [before, second.resumed, after.is_ok_and(|answer| answer == Answer::Welcome)]
}

async fn no_session_is_resumed() {
    let mesh = mesh(PostgresVersion::V15, POLICY).await;
    assert_eq!(returns_after_expiry(&mesh).await, [true, false, false]);
}

/// With resumption the handshake passes, and what denies is the filter's own look at the certificate's end.
async fn a_resumed_session_would_meet_the_filter() {
    let plan = MeshPlan::new(SourceKind::DevAgent, PostgresVersion::V15).svid_ttl(3600);
    let mesh = plan
        .policy(POLICY.replace("session_grace", "expiry_grace: 0s\nsession_grace"))
        .mutate(Workload::Db, |configuration| {
            for switch in
                ["disable_stateless_session_resumption", "disable_stateful_session_resumption"]
            {
                holders(configuration, switch, &mut |context| context[switch] = false.into());
            }
        })
        .start()
        .await
        .unwrap();
    assert_eq!(returns_after_expiry(&mesh).await, [true, true, false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_session_gets_in_with_nothing() {
    tokio::join!(no_session_is_resumed(), a_resumed_session_would_meet_the_filter());
}
