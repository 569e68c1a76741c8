//! A caller with one connection to its sidecar, which does what callers do, not only what they should.

use std::{iter::Sum, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use e2e::{Mesh, Workload};
use fastrand::Rng;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request,
    body::Bytes,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::UnixStream, time::timeout};

/// In how many of a hundred requests the caller hangs up, has its statement refused, or forges a role.
const HANGS_UP: u8 = 10;
const IS_REFUSED: u8 = 10;
const FORGES: u8 = 10;

/// The longest that a caller waits who will hang up. Unit: microseconds.
const LONGEST_WAIT: u64 = 20_000;

/// What a caller would like to be.
const FORGED: [&str; 6] =
    ["customers_writer", "customers_reader", "none", "postgres", "'; reset role; --", "API"];

/// A workload that asks, and the role that the policy gives it.
pub(crate) struct Caller {
    socket: PathBuf,
    role: &'static str,
    login: &'static str,
    random: Rng,
    connection: Option<SendRequest<Full<Bytes>>>,
    tally: Tally,
}

/// What became of the requests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Answers with rows, all in the right role: the reader's, the writer's.
    pub(crate) rows: [usize; 2],
    /// The caller went before the answer came.
    pub(crate) hung_up: usize,
    /// Postgres refused a statement.
    pub(crate) refused: usize,
    /// Postgres ended a statement that took too long.
    pub(crate) timed_out: usize,
    /// The API had no connection in time, on a machine that is busy.
    pub(crate) unserved: usize,
}

impl Caller {
    /// The caller, whose acts are the same in each run.
    pub(crate) fn new(
        mesh: &Mesh,
        workload: Workload,
        role: &'static str,
        way: &str,
        number: usize,
    ) -> Self {
        Self {
            socket: mesh.http_socket(workload),
            role,
            login: if way == "connection" { role } else { "api" },
            random: Rng::with_seed(number as u64),
            connection: None,
            tally: Tally::default(),
        }
    }

    /// Asks until that many answers had rows.
    pub(crate) async fn ask_until(mut self, wanted: usize) -> Result<Tally> {
        while self.tally.rows.iter().sum::<usize>() < wanted {
            let act = self.random.u8(..100);
            if act < HANGS_UP {
                self.hang_up().await?;
            } else if act < HANGS_UP + IS_REFUSED {
                self.be_refused().await?;
            } else {
                self.read(act < HANGS_UP + IS_REFUSED + FORGES).await?;
            }
        }
        Ok(self.tally)
    }

    async fn read(&mut self, forges: bool) -> Result<()> {
        let mut request = Request::get("/customers").header("host", "api");
        if forges {
            for _ in 0..self.random.usize(1..3) {
                request = request.header("x-db-role", FORGED[self.random.usize(..FORGED.len())]);
            }
        }
        let (status, answer) = self.send(request.body(Full::default())?).await?;
        match status {
            200 => {
                let found = (&answer["caller"]["db_role"], &answer["postgres"]);
                let right = json!({ "session_user": self.login, "current_user": self.role });
                ensure!(found == (&self.role.into(), &right), "{}: {answer}", self.role);
                ensure!(answer["customers"].as_array().map(Vec::len) == Some(3), "{answer}");
                self.tally.rows[usize::from(self.role == "customers_writer")] += 1;
            }
            _ => self.count(status, &answer)?,
        }
        Ok(())
    }

    /// The reader may not write, and the writer writes what is there already.
    async fn be_refused(&mut self) -> Result<()> {
        let twin = json!({ "name": "Twin", "email": "orders@harbour.customers.example" });
        let request = Request::post("/customers")
            .header("host", "api")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(twin.to_string())))?;
        let (status, answer) = self.send(request).await?;
        let refusal = if self.role == "customers_writer" { (409, "23505") } else { (403, "42501") };
        if (status, answer["sqlstate"].as_str()) == (refusal.0, Some(refusal.1)) {
            self.tally.refused += 1;
            return Ok(());
        }
        self.count(status, &answer)
    }

    async fn hang_up(&mut self) -> Result<()> {
        let request = Request::get("/customers").header("host", "api").body(Full::default())?;
        let wait = Duration::from_micros(self.random.u64(..LONGEST_WAIT));
        if let Ok(answered) = timeout(wait, self.send(request)).await {
            let (status, answer) = answered?;
            return if status == 200 { Ok(()) } else { self.count(status, &answer) };
        }
        self.connection = None;
        self.tally.hung_up += 1;
        Ok(())
    }

    /// The failures that are expected; any other is one of the test.
    fn count(&mut self, status: u16, answer: &Value) -> Result<()> {
        match (status, answer["sqlstate"].as_str()) {
            (500, Some("57014")) => self.tally.timed_out += 1,
            (503, None) => self.tally.unserved += 1,
            _ => bail!("{}: {status} {answer}", self.role),
        }
        Ok(())
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<(u16, Value)> {
        if self.connection.as_ref().is_none_or(SendRequest::is_closed) {
            let stream = UnixStream::connect(&self.socket).await.context("no sidecar")?;
            let (sender, connection) = handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            self.connection = Some(sender);
        }
        let connection = self.connection.as_mut().context("there is a connection")?;
        connection.ready().await?;
        let answer = connection.send_request(request).await.context("no answer")?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.context("half an answer")?.to_bytes();
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), |sum, next| Self {
            rows: [sum.rows[0] + next.rows[0], sum.rows[1] + next.rows[1]],
            hung_up: sum.hung_up + next.hung_up,
            refused: sum.refused + next.refused,
            timed_out: sum.timed_out + next.timed_out,
            unserved: sum.unserved + next.unserved,
        })
    }
}
