//! Peers that mean harm: each is got rid of or borne, in little memory, while others are served.

mod support;

use std::time::{Duration, Instant};

use support::aim::{told_memory, told_p99, told_time};
use support::raw::{
    CONTINUATION, END_HEADERS, Frame, HEADERS, PING, RST_STREAM, Raw, SETTINGS, call, frame,
    subscription,
};
use support::{
    Agent, Authority, Discovery, HOUR, Identity, Launch, Server, certificate, eventually,
};

/// Memory that may be added, in KiB: by floods of HTTP/2, by peers that never read, by what is too large.
const FLOODED: u64 = 50 << 10;
const UNREAD: u64 = 20 << 10;
const TOO_LARGE: u64 = 5 << 10;

/// How soon an honest Envoy is to have a new certificate, whatever the others do.
const SOON: Duration = Duration::from_secs(1);

/// A server that logs little, and what issued its identity.
async fn serve(addition: &str) -> (Server, Agent, Authority) {
    let launch = Launch { addition, log: "warn", ..Launch::default() };
    let server = Server::launch(launch).await;
    let agent = Agent::serve(&server.at("agent.sock"));
    let authority = Authority::new("example.org");
    agent.issue(&[&Identity::new(&authority, "/a", HOUR)], &[]);
    server.wait_for_readiness(200, "").await;
    (server, agent, authority)
}

/// Issues this identity and waits until an honest Envoy has it. Returns how long that took.
async fn served(agent: &Agent, renewed: &Identity, stream: &mut Discovery) -> Duration {
    let issued = Instant::now();
    agent.issue(&[renewed], &[]);
    assert_eq!(certificate(&stream.accept().await.secret()), renewed.chain);
    issued.elapsed()
}

/// What is written in a turn.
type Flood = fn(u32) -> Vec<u8>;

#[tokio::test]
async fn http2_floods_hurt_nobody_else() {
    let (server, agent, authority) = serve("").await;
    let mut stream = server.client().await.secrets(&["default"], "").await;
    stream.accept().await;
    let before = server.resident();
    let floods: [(&str, Flood); 5] = [
        ("rapid reset", |turn| {
            let id = turn * 2 + 1;
            [frame(HEADERS, END_HEADERS, id, &call(&[])), frame(RST_STREAM, 0, id, &[0, 0, 0, 8])]
                .concat()
        }),
        ("streams that are opened and left", |turn| {
            frame(HEADERS, END_HEADERS, turn * 2 + 1, &call(&[]))
        }),
        ("continuations without end", |turn| {
            if turn == 0 {
                return frame(HEADERS, 0, 1, &call(&[]));
            }
            // Fields of 8 and 100 bytes, each with its length before it.
            let name = format!("x{turn:07}");
            let field = [&[0, 8], name.as_bytes(), &[100], &[b'v'; 100]].concat();
            frame(CONTINUATION, 0, 1, &field.repeat(100))
        }),
        ("pings", |turn| frame(PING, 0, 0, &u64::from(turn).to_be_bytes())),
        ("settings", |turn| {
            frame(SETTINGS, 0, 0, &[&[0, 4], (turn + 1).to_be_bytes().as_slice()].concat())
        }),
    ];
    for (what, flood) in floods {
        let socket = server.at("sds.sock");
        let flooding =
            tokio::task::spawn_blocking(move || Raw::connect(&socket).flood(20_000, flood));
        let mut times = Vec::new();
        while times.len() < 3 || !flooding.is_finished() {
            let renewed = Identity::new(&authority, "/a", HOUR);
            times.push(served(&agent, &renewed, &mut stream).await);
        }
        flooding.await.expect("flooded");
        let grown = server.resident().saturating_sub(before);
        told_p99(&format!("{what}: another's new certificate"), times, SOON);
        told_memory(&format!("{what}: memory"), grown, FLOODED);
        assert!(grown <= FLOODED, "{what}: {grown} KiB more");
    }
    server.client().await.fetch(&["default"]).await.expect("it is alive");
}

#[tokio::test]
async fn a_hundred_that_never_read_cost_little_and_are_closed() {
    let rotations = std::env::var("SIGNET_ROTATIONS").ok();
    let rotations = rotations.and_then(|number| number.parse().ok()).unwrap_or(200);
    let limits = "limits: { connections_per_peer: 200, slow_reader: 1s }";
    let (server, agent, authority) = serve(limits).await;
    let mut stream = server.client().await.secrets(&["default"], "").await;
    stream.accept().await;
    let open = || server.metric("signet_xds_streams{type=\"secret\",transport=\"unix\"}");
    let stalled: Vec<Raw> = (0..100)
        .map(|_| {
            let mut raw = Raw::connect(&server.at("sds.sock"));
            let request = [
                frame(SETTINGS, 1, 0, &[]),
                frame(HEADERS, END_HEADERS, 1, &call(&[])),
                frame(0, 0, 1, &subscription()),
            ];
            raw.flood(1, |_| request.concat());
            raw
        })
        .collect();
    eventually("all are subscribed", async || (open()? == 101).then_some(())).await;
    let before = server.resident();
    let (mut most, mut times) = (before, Vec::new());
    let begun = Instant::now();
    let mut closed = None;
    for _ in 0..rotations {
        let renewed = Identity::new(&authority, "/a", HOUR);
        times.push(served(&agent, &renewed, &mut stream).await);
        most = most.max(server.resident());
        closed = closed.or_else(|| (open()? == 1).then(|| begun.elapsed()));
    }
    told_p99("a hundred that never read: another's new certificate", times, SOON);
    told_memory("a hundred that never read: memory", most - before, UNREAD);
    assert!(most - before <= UNREAD, "{} KiB more", most - before);
    // Those that are full are noticed as slow readers; on a slow machine keepalive may be first.
    eventually("the stalled are closed", async || {
        agent.issue(&[&Identity::new(&authority, "/a", HOUR)], &[]);
        (open()? == 1).then_some(())
    })
    .await;
    let closed = closed.unwrap_or_else(|| begun.elapsed());
    told_time(
        "from the first rotation until all of them are closed",
        closed,
        Duration::from_secs(30),
    );
    assert!(server.client().await.fetch(&["default"]).await.is_ok(), "others are served");
    drop(stalled);
}

#[tokio::test]
async fn what_is_too_large_or_compressed_is_not_taken_in() {
    const TIMES: u64 = 10;
    let (server, agent, authority) = serve("").await;
    let mut stream = server.client().await.secrets(&["default"], "").await;
    stream.accept().await;
    let before = server.resident();
    let zeros = vec![0; 16 << 10];
    let mut rejected = std::collections::BTreeMap::<_, u64>::new();
    for (what, more, flag, length, class) in [
        ("a message of 4 GiB", &[][..], 0, u32::MAX, "too_large"),
        ("a message of 1 MiB and a byte", &[], 0, (1 << 20) + 1, "too_large"),
        ("a compressed message", &[("grpc-encoding", "gzip")], 1, 1 << 19, "malformed"),
        ("an unknown compression", &[("grpc-encoding", "zip-bomb")], 1, 1 << 19, "malformed"),
    ] {
        for _ in 0..TIMES {
            let (socket, zeros) = (server.at("sds.sock"), zeros.clone());
            let mut head = vec![flag];
            head.extend(length.to_be_bytes());
            let head =
                [frame(HEADERS, END_HEADERS, 1, &call(more)), frame(0, 0, 1, &head)].concat();
            tokio::task::spawn_blocking(move || {
                let mut raw = Raw::connect(&socket);
                // As much as the first window holds.
                raw.flood(4, |turn| match turn {
                    0 => head.clone(),
                    _ => frame(0, 0, 1, &zeros),
                });
                // Who left at once would not be heard.
                let ended = std::iter::from_fn(|| raw.read()).find(Frame::ends_stream);
                assert_eq!(ended.map(|frame| frame.stream), Some(1));
            })
            .await
            .expect("flooded");
        }
        *rejected.entry(class).or_default() += TIMES;
        eventually(&format!("{what} is rejected each time"), async || {
            let metric = format!("signet_xds_rejected_total{{reason=\"{class}\"}}");
            (server.metric(&metric)? == rejected[class]).then_some(())
        })
        .await;
        served(&agent, &Identity::new(&authority, "/a", HOUR), &mut stream).await;
        let grown = server.resident().saturating_sub(before);
        told_memory(&format!("{what}: memory"), grown, TOO_LARGE);
        assert!(grown <= TOO_LARGE, "{what}: {grown} KiB more");
    }
}

/// Two sets of names that nothing answers, asked for in turns: each name is new every time.
#[tokio::test]
async fn names_without_end_are_no_flood_of_log_lines() {
    const LINES_A_SECOND: u64 = 100;
    const TURNS: usize = 20;
    let (server, _agent, _authority) = serve("").await;
    let begun = Instant::now();
    let mut stream = server.client().await.secrets(&["default"], "").await;
    stream.accept().await;
    let names = |set: usize| -> Vec<String> { (0..500).map(|n| format!("{set}-{n}")).collect() };
    for turn in 0..TURNS {
        stream.rename(names(turn % 2));
    }
    let all = 500 * TURNS as u64;
    let counted = "signet_xds_unanswered_names_total{type=\"secret\",reason=\"name\"}";
    eventually("all are counted", async || (server.metric(counted)? == all).then_some(())).await;
    let seconds = begun.elapsed().as_secs() + 2;
    let lines = server.log().matches("not served; who needs it waits").count() as u64;
    assert!((1..=LINES_A_SECOND * seconds).contains(&lines), "{lines} lines in {seconds} s");
}
