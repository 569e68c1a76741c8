//! Callers that ask as fast as they are answered: mTLS, HTTP/1.1, one request at a time on each of a
//! fixed number of connections.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use e2e::tls::TlsCaller;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::client::TlsStream;

/// Connections of a load.
pub(super) const CONNECTIONS: usize = 8;

/// The largest answer that a caller takes. Unit: bytes.
const LARGEST_ANSWER: usize = 16 * 1024;

const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const DONE: u8 = 2;

/// Callers at work; what they do counts from [`Load::measure`] on.
#[derive(Debug)]
pub(super) struct Load {
    callers: JoinSet<Result<Vec<Duration>>>,
    phase: Arc<AtomicU8>,
    measured_since: Instant,
}

/// What the callers saw while it counted.
#[derive(Debug)]
pub(super) struct Seen {
    /// One per request, ascending.
    pub(super) latencies: Vec<Duration>,
    pub(super) elapsed: Duration,
}

impl Load {
    /// Connects and begins to ask for these paths in turn. Any answer but 200 ends the load with an error.
    pub(super) async fn start(
        caller: &TlsCaller,
        address: SocketAddr,
        paths: &[String],
    ) -> Result<Self> {
        let requests: Arc<[Vec<u8>]> = paths.iter().map(|path| request(path)).collect();
        let phase = Arc::new(AtomicU8::new(WARMING));
        let mut callers = JoinSet::new();
        for connection in 0..CONNECTIONS {
            let stream = caller.connect(address).await?.stream;
            let first = connection * requests.len() / CONNECTIONS;
            callers.spawn(ask(stream, requests.clone(), first, phase.clone()));
        }
        Ok(Self { callers, phase, measured_since: Instant::now() })
    }

    /// From now on it counts.
    pub(super) fn measure(&mut self) {
        self.measured_since = Instant::now();
        self.phase.store(MEASURING, Ordering::Relaxed);
    }

    /// Ends it.
    pub(super) async fn finish(mut self) -> Result<Seen> {
        let elapsed = self.measured_since.elapsed();
        self.phase.store(DONE, Ordering::Relaxed);
        let mut latencies = Vec::new();
        while let Some(caller) = self.callers.join_next().await {
            latencies.extend(caller??);
        }
        latencies.sort_unstable();
        Ok(Seen { latencies, elapsed })
    }

    /// Lets time pass; a caller that fails meanwhile is an error at once.
    pub(super) async fn go_on(&mut self, time: Duration) -> Result<()> {
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            ended = self.callers.join_next() => match ended {
                Some(outcome) => outcome?.and_then(|_| bail!("a caller ended early")),
                None => bail!("there are no callers"),
            },
        }
    }
}

fn request(path: &str) -> Vec<u8> {
    let head = "host: api\r\nuser-agent: signet-bench\r\naccept: application/json";
    format!("GET {path} HTTP/1.1\r\n{head}\r\n\r\n").into_bytes()
}

async fn ask(
    mut stream: TlsStream<TcpStream>,
    requests: Arc<[Vec<u8>]>,
    first: usize,
    phase: Arc<AtomicU8>,
) -> Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    let mut answer = Vec::with_capacity(LARGEST_ANSWER);
    for request in requests.iter().cycle().skip(first) {
        let asked = Instant::now();
        stream.write_all(request).await.context("a request could not be sent")?;
        stream.flush().await?;
        answer.clear();
        while !is_whole(&answer)? {
            let read = stream.read_buf(&mut answer).await.context("an answer broke off")?;
            if read == 0 || answer.len() > LARGEST_ANSWER {
                bail!("the proxy hung up or said too much: {:?}", String::from_utf8_lossy(&answer));
            }
        }
        match phase.load(Ordering::Relaxed) {
            WARMING => {}
            MEASURING => latencies.push(asked.elapsed()),
            _ => break,
        }
    }
    Ok(latencies)
}

/// True once an answer's head and body are there. Any status but 200 is an error.
fn is_whole(answer: &[u8]) -> Result<bool> {
    let Some(head) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return Ok(false);
    };
    if !answer.starts_with(b"HTTP/1.1 200 ") {
        bail!("not 200: {:?}", String::from_utf8_lossy(answer));
    }
    let length = content_length(&answer[..head]).context("an answer without content-length")?;
    Ok(answer.len() >= head + 4 + length)
}

fn content_length(head: &[u8]) -> Option<usize> {
    let mut lines = head.split(|&byte| byte == b'\n');
    let value = lines.find_map(|line| line.strip_prefix(b"content-length: "))?;
    std::str::from_utf8(value).ok()?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::is_whole;

    #[test]
    fn an_answer_is_whole_with_its_body() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nserver: envoy\r\n\r\nok\n";
        assert!(is_whole(answer).unwrap());
        for end in 0..answer.len() {
            assert!(!is_whole(&answer[..end]).unwrap(), "{end}");
        }
    }

    #[test]
    fn a_denial_is_no_answer() {
        let denial = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n";
        let complaint = is_whole(denial).unwrap_err().to_string();
        assert!(complaint.contains("403 Forbidden"), "{complaint}");
    }
}
