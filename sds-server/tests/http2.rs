//! What the configuration allows of HTTP/2, and how connections end, frame by frame.

mod support;

use support::raw::{
    END_HEADERS, Frame, GOAWAY, HEADERS, RST_STREAM, Raw, SETTINGS, call, frame, subscription,
};
use support::{Agent, Server, eventually, served};

async fn serve(addition: &str) -> (Server, Agent) {
    let (server, agent, _) = served(addition).await;
    (server, agent)
}

/// Talks to the server where waiting is no harm.
async fn talk<T: Send + 'static>(
    server: &Server,
    talk: impl FnOnce(Raw) -> T + Send + 'static,
) -> T {
    let socket = server.at("sds.sock");
    tokio::task::spawn_blocking(move || talk(Raw::connect(&socket))).await.expect("talked")
}

/// What the server's first frame says of a setting.
fn setting(settings: &Frame, number: u8) -> Option<u32> {
    assert_eq!((settings.kind, settings.flags), (SETTINGS, 0));
    let found = settings.payload.chunks(6).find(|pair| pair[..2] == [0, number])?;
    Some(u32::from_be_bytes(found[2..].try_into().expect("four octets")))
}

/// The reason with which the server goes away, if it does so before it closes.
fn farewell(raw: &mut Raw) -> Option<u32> {
    let goaway = std::iter::from_fn(|| raw.read()).filter(|frame| frame.kind == GOAWAY).last()?;
    Some(u32::from_be_bytes(goaway.payload[4..8].try_into().expect("four octets")))
}

const STREAMS: u8 = 3;
const STREAM_WINDOW: u8 = 4;
const HEADER_LIST: u8 = 6;

#[tokio::test]
async fn a_connection_is_told_the_limits_of_its_time() {
    let (server, _agent) = serve("").await;
    let told = async || {
        talk(&server, |mut raw| {
            let settings = raw.read().expect("settings");
            [STREAMS, STREAM_WINDOW, HEADER_LIST].map(|number| setting(&settings, number))
        })
        .await
    };
    assert_eq!(told().await, [Some(1024), Some(1 << 20), Some(16 << 10)]);
    let limits = "limits: { streams_per_connection: 7, window_bytes: 131072, header_bytes: 1024 }";
    server.reconfigure("", limits);
    eventually("new connections have the new ones", async || {
        (told().await == [Some(7), Some(131_072), Some(1024)]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn headers_beyond_the_limit_are_not_heard() {
    let (server, _agent) = serve("limits: { header_bytes: 1024 }").await;
    let long = "v".repeat(120);
    for (fields, is_heard) in [(2, true), (20, false)] {
        let names: Vec<_> = (0..fields).map(|number| format!("x-{number}")).collect();
        let more: Vec<_> = names.iter().map(|name| (name.as_str(), long.as_str())).collect();
        let head = frame(HEADERS, END_HEADERS, 1, &call(&more));
        let asked = [head, frame(0, 0, 1, &subscription())].concat();
        let heard = talk(&server, move |mut raw| {
            raw.flood(1, |_| asked.clone());
            let answer = std::iter::from_fn(|| raw.read()).find(|frame| frame.stream == 1);
            !answer.expect("an answer").ends_stream()
        })
        .await;
        assert_eq!(heard, is_heard, "{fields} fields");
    }
}

/// What is written in a turn, with a head of its own.
type Flood = fn(u32, &dyn Fn(u32, &[(&str, &str)]) -> Vec<u8>) -> Vec<u8>;

/// The peer is calmed down (RFC 9113 §7).
#[tokio::test]
async fn resets_beyond_the_limit_end_the_connection() {
    const ENHANCE_YOUR_CALM: u32 = 11;
    let head =
        |turn: u32, more: &[(&str, &str)]| frame(HEADERS, END_HEADERS, turn * 2 + 1, &call(more));
    // What the peer resets; what we must reset, for HTTP/2 has no such header.
    let floods: [(&str, Flood); 2] = [
        ("pending_resets", |turn, head| {
            [head(turn, &[]), frame(RST_STREAM, 0, turn * 2 + 1, &[0, 0, 0, 8])].concat()
        }),
        ("own_resets", |turn, head| head(turn, &[("connection", "close")])),
    ];
    for (key, flood) in floods {
        for (limit, ends) in [(4, true), (1000, false)] {
            let (server, _agent) = serve(&format!("limits: {{ {key}: {limit} }}")).await;
            let all: Vec<u8> = (0..32).flat_map(|turn| flood(turn, &head)).collect();
            let reason = talk(&server, move |mut raw| {
                raw.flood(1, |_| all.clone());
                // Or it would wait for more.
                raw.0.shutdown(std::net::Shutdown::Write).expect("shut down");
                farewell(&mut raw)
            })
            .await;
            assert_eq!(reason == Some(ENHANCE_YOUR_CALM), ends, "{key} {limit}: {reason:?}");
            server.client().await.fetch(&["default"]).await.expect("others are served");
        }
    }
}

#[tokio::test]
async fn who_must_leave_is_told_on_each_stream_and_then_goodbye() {
    const NO_ERROR: u32 = 0;
    let uid = rustix::process::getuid().as_raw();
    let (server, _agent) = serve("").await;
    let mut raw = Raw::connect(&server.at("sds.sock"));
    let ask = |stream| {
        [frame(HEADERS, END_HEADERS, stream, &call(&[])), frame(0, 0, stream, &subscription())]
            .concat()
    };
    let both = [ask(1), ask(3)].concat();
    let acknowledged = frame(SETTINGS, 1, 0, &[]);
    raw.flood(1, |_| [acknowledged.as_slice(), &both].concat());
    let streams = || server.metric("signet_xds_streams{type=\"secret\",transport=\"unix\"}");
    eventually("both are subscribed", async || (streams()? == 2).then_some(())).await;
    server.reconfigure(&format!("allowed_uids: [{}]", uid + 1), "");
    let frames =
        tokio::task::spawn_blocking(move || std::iter::from_fn(|| raw.read()).collect::<Vec<_>>());
    let frames = frames.await.expect("read to the end");
    for stream in [1, 3] {
        let ended = frames.iter().any(|frame| frame.stream == stream && frame.ends_stream());
        assert!(ended, "{stream}: {frames:?}");
    }
    let goaway = frames.iter().rfind(|frame| frame.kind == GOAWAY).expect("a goodbye");
    assert_eq!(goaway.payload[4..8], NO_ERROR.to_be_bytes());
    let refused = server.metric("signet_xds_rejected_total{reason=\"uid\"}");
    assert_eq!(refused, Some(1), "it is told once, of the connection");
}
