//! How often a request waits for Postgres, shown by a relay that lets no answer pass until all that may be asked in one go is.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use crate::api::{Api, READER, WRITER};
use crate::postgres::Postgres;

/// Answers that one round trip brings, of each in turn: the start-up's, then for each request the beginning in the role, the
/// question, and the end.
type RoundTrips = [usize; 4];

/// In front of Postgres' socket, for one connection.
struct Relay {
    client: UnixStream,
    server: UnixStream,
    round_trips: RoundTrips,
    /// What was asked, and how much of that is answered. The start-up packet asks too.
    asked: usize,
    answered: usize,
    from_client: Vec<u8>,
    from_server: Vec<u8>,
}

impl Relay {
    async fn run(mut self) -> std::io::Result<()> {
        let (mut sent, mut received) = ([0; 4096], [0; 4096]);
        loop {
            tokio::select! {
                size = self.client.read(&mut sent) => {
                    let bytes = &sent[..size?];
                    if bytes.is_empty() { return Ok(()); }
                    self.server.write_all(bytes).await?;
                    self.from_client.extend(bytes);
                }
                size = self.server.read(&mut received) => {
                    let bytes = &received[..size?];
                    if bytes.is_empty() { return Ok(()); }
                    self.from_server.extend(bytes);
                }
            }
            self.count();
            self.release().await?;
        }
    }

    /// `Query` and `Sync` are answered by a `ReadyForQuery` each; the start-up packet has no type.
    fn count(&mut self) {
        while let Some(message) = message(&mut self.from_client, usize::from(self.asked > 0)) {
            self.asked += usize::from(self.asked == 0 || b"QS".contains(&message[0]));
        }
    }

    /// Passes the answers of a round trip once everything in it has been asked.
    async fn release(&mut self) -> std::io::Result<()> {
        while self.asked >= self.goal() {
            let Some(message) = message(&mut self.from_server, 1) else { return Ok(()) };
            self.answered += usize::from(message[0] == b'Z');
            self.client.write_all(&message).await?;
        }
        Ok(())
    }

    /// How much is asked when the round trip at hand is.
    fn goal(&self) -> usize {
        let [startup, request @ ..] = self.round_trips;
        let mut goal = startup;
        for answers in request.iter().cycle() {
            if goal > self.answered {
                break;
            }
            goal += answers;
        }
        goal
    }
}

/// Takes a whole message off the front. Its length stands behind its type, and does not count that.
fn message(bytes: &mut Vec<u8>, kind: usize) -> Option<Vec<u8>> {
    let length = bytes.get(kind..kind + 4)?.try_into().unwrap();
    let size = kind + u32::from_be_bytes(length) as usize;
    (bytes.len() >= size).then(|| bytes.drain(..size).collect())
}

async fn relay(socket: UnixListener, postgres: std::path::PathBuf, round_trips: RoundTrips) {
    while let Ok((client, _)) = socket.accept().await {
        let server = UnixStream::connect(postgres.join(".s.PGSQL.5432")).await.unwrap();
        let (from_client, from_server) = (Vec::new(), Vec::new());
        let (asked, answered) = (0, 0);
        let relay =
            Relay { client, server, round_trips, asked, answered, from_client, from_server };
        tokio::spawn(relay.run());
    }
}

/// Whether requests are answered where so many answers are held back for each other.
async fn are_answered(
    postgres: &Postgres,
    way: &str,
    round_trips: RoundTrips,
    patience: u64,
) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let socket = UnixListener::bind(directory.path().join(".s.PGSQL.5432")).unwrap();
    let relay = tokio::spawn(relay(socket, postgres.path(), round_trips));
    let api = start(directory.path(), way);
    let requests = async {
        for caller in [READER, READER, WRITER] {
            assert_eq!(api.get("/customers", caller).await.0, 200, "{way}");
        }
    };
    let answered = timeout(Duration::from_secs(patience), requests).await.is_ok();
    relay.abort();
    answered
}

fn start(database: &Path, way: &str) -> Api {
    Api::start(database, &[&format!("--role-injection={way}"), "--connections=1"])
}

#[tokio::test]
async fn a_request_takes_three_round_trips() {
    let postgres = Postgres::start().await;
    // `begin`, `set_config` and who it has become; the question and who asked; the end, which is one message.
    assert!(are_answered(&postgres, "set-config", [1, 3, 2, 1], 30).await);
    assert!(are_answered(&postgres, "connection", [1, 2, 2, 1], 30).await);
    // The relay does hold back: nobody asks so much at once.
    assert!(!are_answered(&postgres, "set-config", [1, 4, 2, 1], 1).await);
}
