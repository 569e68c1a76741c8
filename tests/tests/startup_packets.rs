//! Start-up packets as no driver sends them, through a real Envoy to a real Postgres: whatever the
//! fragmentation, the same identity becomes the same role, or nobody.

use e2e::{
    FetchedSvid, Mesh, MeshPlan, PostgresVersion, SourceKind, Workload,
    bootstrap::holders,
    startup::{
        Answer, ask, first_value, message, query, read_answer, read_byte, session_user, ssl_request,
    },
    tls::TlsCaller,
};
use tokio::io::AsyncWriteExt;
use tokio_rustls::client::TlsStream;

async fn connection(mesh: &Mesh, svid: &FetchedSvid) -> TlsStream<tokio::net::TcpStream> {
    let caller = TlsCaller::new(Some(svid), "postgresql").unwrap();
    caller.connect(mesh.ingress(Workload::Db)).await.unwrap().stream
}

fn as_postgres() -> Vec<u8> {
    message(&[("user", "postgres"), ("database", "customers")])
}

/// What came of a packet, split after each of its bytes in turn, and then sent byte by byte.
async fn every_split(mesh: &Mesh, workload: Workload) -> Vec<(Answer, String)> {
    let svid = mesh.source.fetch(&mesh.stage, workload).unwrap();
    let packet = as_postgres();
    let mut splits: Vec<Vec<&[u8]>> =
        (1..packet.len()).map(|at| vec![&packet[..at], &packet[at..]]).collect();
    splits.push(packet.chunks(1).collect());
    let mut seen = Vec::new();
    for pieces in splits {
        let mut stream = connection(mesh, &svid).await;
        let answer = ask(&mut stream, &pieces).await.unwrap();
        let role = match answer {
            Answer::Welcome => session_user(&mut stream).await.unwrap(),
            _ => String::new(),
        };
        seen.push((answer, role));
    }
    seen
}

async fn splits_change_nothing(version: PostgresVersion) {
    let mesh = MeshPlan::new(SourceKind::DevAgent, version).start().await.unwrap();
    for (answer, role) in every_split(&mesh, Workload::Report).await {
        assert_eq!((answer, role.as_str()), (Answer::Welcome, "customers_reader"));
    }
    let forked = mesh.postgres.backends_forked();
    for (answer, _) in every_split(&mesh, Workload::Client).await {
        assert_eq!(answer.sqlstate(), "28000", "{answer:?}");
    }
    assert_eq!(mesh.postgres.backends_forked(), forked);
}

#[tokio::test(flavor = "multi_thread")]
async fn splits_change_nothing_on_postgres_15() {
    splits_change_nothing(PostgresVersion::V15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn splits_change_nothing_on_postgres_18() {
    splits_change_nothing(PostgresVersion::V18).await;
}

/// With the filter out and Postgres open, the assertions above fail: the packet arrives as it was
/// sent, and a stranger costs a backend.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_filter_splits_are_seen_to_get_through() {
    let mesh = MeshPlan::new(SourceKind::DevAgent, PostgresVersion::V15)
        .mutate(Workload::Db, |configuration| {
            holders(configuration, "filters", &mut |chain| {
                let filters = chain["filters"].as_array_mut().unwrap();
                filters.retain(|filter| filter["name"] != "signet.postgres");
            });
            holders(configuration, "max_early_data_bytes", &mut |proxy| {
                proxy["cluster"] = "postgres".into();
                proxy.as_object_mut().unwrap().remove("max_early_data_bytes");
            });
        })
        .start()
        .await
        .unwrap();
    let forked = mesh.postgres.backends_forked();
    for workload in [Workload::Report, Workload::Client] {
        for (answer, role) in every_split(&mesh, workload).await {
            assert_ne!((answer, role.as_str()), (Answer::Welcome, "customers_reader"));
        }
    }
    assert!(mesh.postgres.backends_forked() > forked);
}

#[tokio::test(flavor = "multi_thread")]
async fn ssl_requests_and_pipelines() {
    let mesh = MeshPlan::new(SourceKind::DevAgent, PostgresVersion::V15).start().await.unwrap();
    let report = mesh.source.fetch(&mesh.stage, Workload::Report).unwrap();
    let client = mesh.source.fetch(&mesh.stage, Workload::Client).unwrap();
    let request = ssl_request();

    // Whatever the split, the answer is N and the start-up goes on.
    for at in 1..request.len() {
        let mut stream = connection(&mesh, &report).await;
        for piece in [&request[..at], &request[at..]] {
            stream.write_all(piece).await.unwrap();
            stream.flush().await.unwrap();
        }
        assert_eq!(read_byte(&mut stream).await.unwrap(), b'N', "split at {at}");
        assert_eq!(ask(&mut stream, &[&as_postgres()]).await.unwrap(), Answer::Welcome);
        assert_eq!(session_user(&mut stream).await.unwrap(), "customers_reader");
    }

    // Somebody without a rule gets the same N, and never a backend.
    let forked = mesh.postgres.backends_forked();
    let mut stream = connection(&mesh, &client).await;
    stream.write_all(&request).await.unwrap();
    assert_eq!(read_byte(&mut stream).await.unwrap(), b'N');
    assert_eq!(ask(&mut stream, &[&as_postgres()]).await.unwrap().sqlstate(), "28000");
    assert_eq!(mesh.postgres.backends_forked(), forked);

    // What is pipelined behind an SSLRequest could be another's words: refused.
    let mut stream = connection(&mesh, &report).await;
    let together = [request.clone(), as_postgres()].concat();
    let answer = ask(&mut stream, &[&together]).await;
    assert!(!matches!(answer, Ok(Answer::Welcome)), "{answer:?}");

    // What is pipelined behind the StartupMessage survives.
    let mut stream = connection(&mesh, &report).await;
    let together = [as_postgres(), query("select session_user::text")].concat();
    stream.write_all(&together).await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(read_answer(&mut stream).await.unwrap(), Answer::Welcome);
    assert_eq!(first_value(&mut stream).await.unwrap(), "customers_reader");
}
