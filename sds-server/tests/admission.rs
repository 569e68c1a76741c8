//! Who may connect to the Unix socket, how many, and how often.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::aim::told_p99;
use support::{
    Agent, Authority, Client, HOUR, Identity, Launch, NOBODY, Server, as_user, eventually,
};
use tonic::Code;

const TRIES: usize = 100;

async fn serve(listen: &str, limits: &str) -> (Server, Agent) {
    let directory = tempfile::tempdir().expect("a directory");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open).expect("ours");
    let server = Server::start_listening(directory, listen, limits).await;
    let agent = Agent::serve(&server.at("agent.sock"));
    agent.issue(&[&Identity::new(&Authority::new("example.org"), "/a", HOUR)], &[]);
    server.wait_for_readiness(200, "").await;
    (server, agent)
}

/// What an HTTP/2 client is answered at once: nothing, a server's first frame, or a GOAWAY.
fn knock(socket: &Path) -> Result<Vec<u8>, ErrorKind> {
    let mut stream = UnixStream::connect(socket).map_err(|error| error.kind())?;
    let _ = stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    let mut answer = [0; 128];
    let mut read = 0;
    // The first frame is the server's SETTINGS, 9 bytes and more.
    while read < 18 {
        match stream.read(&mut answer[read..]) {
            Ok(0) | Err(_) => break,
            Ok(more) => read += more,
        }
    }
    Ok(answer[..read].to_vec())
}

/// How soon whoever is one too many is to know it.
const SOON: Duration = Duration::from_millis(100);

/// Knocks as often as that, in vain.
fn refused(what: &str, socket: &Path) {
    let mut times = Vec::new();
    for _ in 0..TRIES {
        let begun = Instant::now();
        assert!(says_goodbye(&knock(socket).expect("connected")), "{what}");
        times.push(begun.elapsed());
    }
    told_p99(&format!("{what} is refused"), times, SOON);
}

fn says_goodbye(answer: &[u8]) -> bool {
    const GOAWAY: u8 = 7;
    answer.len() > 12 && answer[3] == 4 && answer[12] == GOAWAY
}

#[tokio::test]
async fn another_user_or_group_stays_out() {
    let (server, _agent) =
        serve("allowed_uids: [0], allowed_gids: [0]", "limits: { opens_burst: 5000 }").await;
    let socket = server.at("sds.sock");
    // Whomever the lists do not have, though the file lets them in.
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666)).expect("ours");
    for (user, class) in [(NOBODY, "uid"), ((65534, 0), "uid"), ((0, 65534), "gid")] {
        let refused = format!("signet_xds_rejected_total{{reason=\"{class}\"}}");
        let before = server.metric(&refused).unwrap_or(0);
        for _ in 0..TRIES {
            let answer = as_user(user, || knock(&socket)).expect("connected");
            assert!(says_goodbye(&answer), "{user:?}: {answer:?}");
        }
        assert_eq!(server.metric(&refused), Some(before + TRIES as u64), "{user:?}");
    }
    // Whomever the file does not let in, though the lists would.
    server.reconfigure("", "limits: { opens_burst: 5000 }");
    eventually("the lists are gone", async || {
        (!says_goodbye(&as_user(NOBODY, || knock(&socket)).ok()?)).then_some(())
    })
    .await;
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o660)).expect("ours");
    for _ in 0..TRIES {
        assert_eq!(as_user(NOBODY, || knock(&socket)), Err(ErrorKind::PermissionDenied));
    }
    server.client().await.fetch(&["default"]).await.expect("root is served");
}

#[tokio::test]
async fn the_seventeenth_connection_of_a_peer_is_refused_and_the_others_are_served() {
    let (server, agent) = serve("", "").await;
    let mut streams = Vec::new();
    for _ in 0..16 {
        let mut stream = server.client().await.secrets(&["default"], "").await;
        stream.accept().await;
        streams.push(stream);
    }
    refused("a peer's seventeenth connection", &server.at("sds.sock"));
    let refusal = match Client::try_connect(&server.at("sds.sock")).await {
        Ok(client) => client.fetch(&["default"]).await.expect_err("refused").code(),
        Err(_) => Code::Unavailable,
    };
    // The goodbye may come before the client has written its own part: tonic calls that pipe's end unknown.
    assert!([Code::Unavailable, Code::Unknown].contains(&refusal), "{refusal}");
    agent.issue(&[&Identity::new(&Authority::new("example.org"), "/a", HOUR)], &[]);
    for stream in &mut streams {
        stream.accept().await;
    }
    drop(streams);
    eventually("its places are free again", async || {
        let client = Client::try_connect(&server.at("sds.sock")).await.ok()?;
        client.fetch(&["default"]).await.ok()
    })
    .await;
}

#[tokio::test]
async fn there_are_places_for_1024_connections_and_no_more() {
    let limits = "limits: { connections_per_peer: 5000, opens_burst: 5000 }";
    let (server, agent) = serve("", limits).await;
    let mut stream = server.client().await.secrets(&["default"], "").await;
    stream.accept().await;
    let socket = server.at("sds.sock");
    let open = |_| UnixStream::connect(&socket).expect("connected");
    let crowd: Vec<UnixStream> = (1..1024).map(open).collect();
    eventually("the house is full", async || {
        says_goodbye(&knock(&socket).expect("connected")).then_some(())
    })
    .await;
    refused("the 1,025th connection", &socket);
    agent.issue(&[&Identity::new(&Authority::new("example.org"), "/a", HOUR)], &[]);
    stream.accept().await;
    drop(crowd);
    eventually("places are free again", async || {
        (!says_goodbye(&knock(&socket).ok()?)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn connections_are_opened_in_a_burst_and_then_at_a_rate() {
    let limits = "limits: { connections_per_peer: 5000, opens_per_second: 1, opens_burst: 20 }";
    let (server, agent) = serve("", limits).await;
    let mut stream = server.client().await.secrets(&["default"], "").await;
    stream.accept().await;
    let socket = server.at("sds.sock");
    // Nobody waits 80 s between two of these.
    let answers: Vec<(bool, Duration)> = (0..100)
        .map(|_| {
            let begun = Instant::now();
            (says_goodbye(&knock(&socket).expect("connected")), begun.elapsed())
        })
        .collect();
    assert!(!answers[0].0, "a burst is allowed");
    let in_vain = answers.into_iter().filter_map(|(refused, time)| refused.then_some(time));
    let in_vain: Vec<_> = in_vain.collect();
    assert!(!in_vain.is_empty(), "and no more");
    told_p99("a connection beyond the burst is refused", in_vain, SOON);
    agent.issue(&[&Identity::new(&Authority::new("example.org"), "/a", HOUR)], &[]);
    stream.accept().await;
}

/// Where each process has its own identities, one without a number here has none: `pid 0` of the kernel
/// names nobody.
#[tokio::test]
async fn a_process_of_another_pid_namespace_is_refused_where_processes_are_attested() {
    for (source, attested) in [
        ("delegated: { admin_socket: 'unix://$DIRECTORY/agent.sock' }", true),
        ("workload_api: { socket: 'unix://$DIRECTORY/agent.sock' }", false),
    ] {
        let server = Server::launch(Launch { source, apart: true, ..Launch::default() }).await;
        for _ in 0..10 {
            let answer = knock(&server.at("sds.sock")).expect("connected");
            assert_eq!(says_goodbye(&answer), attested, "{source}: {answer:?}");
        }
        let refused = server.metric("signet_xds_rejected_total{reason=\"pid_namespace\"}");
        assert_eq!(refused, attested.then_some(10), "{source}");
        let status: Value = serde_json::from_str(&server.get("/status").1).expect("JSON");
        let told = status["refused_peers"][0]["reason"].as_str().unwrap_or_default();
        assert_eq!(told.contains("it lives in another pid namespace"), attested, "{status}");
        assert_eq!(server.log().contains("it lives in another pid namespace"), attested);
    }
}
