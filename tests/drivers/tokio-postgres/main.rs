//! tokio-postgres, with rustls for direct TLS. What it reads and prints stands in `../README.md`.

mod connector;
mod tls;

use std::{env, future::poll_fn, pin::pin, time::Duration};

use anyhow::{Context, Result};
use bytes::Bytes;
use futures::{SinkExt, TryStreamExt};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::{sleep, timeout},
};
use tokio_postgres::{
    AsyncMessage, Client, Config, Connection, Error, NoTls, Row, SimpleQueryMessage,
    config::{SslMode, SslNegotiation},
    types::ToSql,
};

use connector::Rustls;

/// Where to, as the environment says; tokio-postgres reads none.
struct Target {
    config: Config,
    tls: Option<Rustls>,
    run: String,
    idle: Duration,
}

impl Target {
    fn from_environment() -> Result<Self> {
        let read = |key: &str| env::var(key).with_context(|| format!("{key} is not set"));
        let mut config = Config::new();
        config.host(read("PGHOST")?).port(read("PGPORT")?.parse()?);
        config.user(read("PGUSER")?).dbname(read("PGDATABASE")?);
        let mut tls = None;
        if env::var_os("PGSSLNEGOTIATION").is_some() {
            config.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
            tls = Some(Rustls::new(tls::client()?));
        }
        let idle = Duration::from_secs_f64(read("IDLE_SECONDS")?.parse()?);
        Ok(Self { config, tls, run: read("RUN")?, idle })
    }

    /// A session, and the messages that come beside its answers.
    async fn listen(&self) -> Result<(Client, UnboundedReceiver<AsyncMessage>), Error> {
        if let Some(tls) = &self.tls {
            let (session, connection) = self.config.connect(tls.clone()).await?;
            return Ok((session, messages(connection)));
        }
        let (session, connection) = self.config.connect(NoTls).await?;
        Ok((session, messages(connection)))
    }

    async fn connect(&self) -> Result<Client, Error> {
        Ok(self.listen().await?.0)
    }

    async fn one(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Row> {
        Ok(self.connect().await?.query_one(sql, values).await?)
    }

    async fn simple(&self) -> Result<String> {
        let messages = self.connect().await?.simple_query("select 40 + 2").await?;
        let row = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        Ok(row.context("no row")?.to_owned())
    }

    async fn prepared(&self) -> Result<String> {
        let session = self.connect().await?;
        let square = session.prepare("select ($1::int * $1::int)::text").await?;
        let mut squares = Vec::new();
        for n in 1..=3 {
            squares.push(session.query_one(&square, &[&n]).await?.get::<_, String>(0));
        }
        Ok(squares.join(" "))
    }

    async fn copy_in(&self) -> Result<String> {
        let session = self.connect().await?;
        let mut sink = pin!(session.copy_in("copy driver_rows (run, n) from stdin").await?);
        for n in 0..1_000 {
            sink.feed(Bytes::from(format!("{}\t{n}\n", self.run))).await?;
        }
        sink.finish().await?;
        let count = "select count(*)::text from driver_rows where run = $1";
        Ok(session.query_one(count, &[&self.run]).await?.get(0))
    }

    async fn copy_out(&self) -> Result<String> {
        let session = self.connect().await?;
        let run = &self.run;
        let sql = format!("copy (select n from driver_rows where run = '{run}') to stdout");
        let chunks: Vec<_> = session.copy_out(&sql).await?.try_collect().await?;
        let lines = chunks.iter().flatten().filter(|byte| **byte == b'\n').count();
        Ok(lines.to_string())
    }

    async fn notify(&self) -> Result<String> {
        let (listening, mut messages) = self.listen().await?;
        listening.batch_execute(&format!("listen \"{}\"", self.run)).await?;
        self.one("select pg_notify($1, 'hello')::text", &[&self.run]).await?;
        let heard = timeout(Duration::from_secs(30), async {
            while let Some(message) = messages.recv().await {
                if let AsyncMessage::Notification(notification) = message {
                    return Some(notification.payload().to_owned());
                }
            }
            None
        });
        heard.await?.context("the session ended")
    }

    async fn cancel(&self) -> Result<String> {
        let (busy, watching) = (self.connect().await?, self.connect().await?);
        let pid: i32 = busy.query_one("select pg_backend_pid()", &[]).await?.get(0);
        let token = busy.cancel_token();
        let sleeping = tokio::spawn(async move { busy.batch_execute("select pg_sleep(20)").await });
        let asleep = "select from pg_stat_activity where pid = $1 and wait_event = 'PgSleep'";
        while watching.query_opt(asleep, &[&pid]).await?.is_none() {
            sleep(Duration::from_millis(10)).await;
        }
        match &self.tls {
            Some(tls) => token.cancel_query(tls.clone()).await?,
            None => token.cancel_query(NoTls).await?,
        }
        match sleeping.await? {
            Ok(()) => Ok("slept to the end".to_owned()),
            Err(error) => sqlstate(error),
        }
    }

    async fn large(&self) -> Result<String> {
        let session = self.connect().await?;
        let sql = "select repeat('x', 10000) from generate_series(1, 10000)";
        let rows = session.query(sql, &[]).await?;
        Ok(rows.iter().map(|row| row.get::<_, &str>(0).len()).sum::<usize>().to_string())
    }

    async fn idle(&self) -> Result<String> {
        let session = self.connect().await?;
        session.batch_execute("select 1").await?;
        sleep(self.idle).await;
        Ok(session.query_one("select (40 + 2)::text", &[]).await?.get(0))
    }

    async fn denied(&self) -> Result<String> {
        match self.connect().await {
            Ok(_) => Ok("let in".to_owned()),
            Err(error) => sqlstate(error),
        }
    }

    async fn run(&self, step: &str) -> Result<String> {
        match step {
            "connect" => Ok(self.one("select session_user::text", &[]).await?.get(0)),
            "simple" => self.simple().await,
            "extended" => Ok(self.one("select ($1::int + 2)::text", &[&40]).await?.get(0)),
            "prepared" => self.prepared().await,
            "copy-in" => self.copy_in().await,
            "copy-out" => self.copy_out().await,
            "notify" => self.notify().await,
            "cancel" => self.cancel().await,
            "large" => self.large().await,
            "idle" => self.idle().await,
            "denied" => self.denied().await,
            other => anyhow::bail!("no step {other:?}; ../README.md lists them"),
        }
    }
}

/// Runs a connection to its end. Nobody need listen.
fn messages<S, T>(mut connection: Connection<S, T>) -> UnboundedReceiver<AsyncMessage>
where
    Connection<S, T>: Send + 'static,
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (out, messages) = unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            let _ = out.send(message);
        }
    });
    messages
}

/// What Postgres, or the proxy in its place, gave as the reason.
fn sqlstate(error: Error) -> Result<String> {
    match error.code() {
        Some(code) => Ok(code.code().to_owned()),
        None => Err(error.into()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let target = Target::from_environment()?;
    for step in env::args().skip(1) {
        let outcome = target.run(&step).await;
        let ok = outcome.is_ok();
        let detail = outcome.unwrap_or_else(|error| format!("{error:#}"));
        println!("{}", serde_json::json!({ "step": step, "ok": ok, "detail": detail }));
    }
    Ok(())
}
