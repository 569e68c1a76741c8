//! One HTTP/1.1 request on a stream that is already open, as it stands: nothing is normalized.

use std::path::Path;

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, ToSocketAddrs, UnixStream},
};

/// What to ask for.
#[derive(Clone, Debug)]
pub struct Ask {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The body, as text.
    pub body: String,
}

impl Ask {
    /// A request without headers or body.
    pub fn new(method: &str, path: &str) -> Self {
        let (method, path) = (method.to_owned(), path.to_owned());
        Self { method, path, headers: Vec::new(), body: String::new() }
    }

    /// GET.
    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets a JSON body.
    #[must_use]
    pub fn json(mut self, body: &Value) -> Self {
        self.body = body.to_string();
        self.header("content-type", "application/json")
    }

    /// Sends it on a new connection to a Unix socket.
    pub async fn unix(self, socket: &Path) -> Result<Reply> {
        let stream = UnixStream::connect(socket).await;
        self.on(stream.with_context(|| format!("cannot connect to {}", socket.display()))?).await
    }

    /// Sends it on a new TCP connection in clear.
    pub async fn tcp(self, address: impl ToSocketAddrs) -> Result<Reply> {
        self.on(TcpStream::connect(address).await.context("cannot connect")?).await
    }

    /// Sends it on this stream.
    pub async fn on(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Reply> {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.context("no HTTP on this stream")?;
        let driver = tokio::spawn(connection);
        let mut request = Request::builder().method(self.method.as_str()).uri(&self.path);
        if !self.headers.iter().any(|(name, _)| name == "host") {
            request = request.header("host", "api");
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(self.body)))?;
        let response = sender.send_request(request).await.context("no answer")?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.context("the answer broke off")?;
        drop(sender);
        driver.abort();
        Ok(Reply { status, body: String::from_utf8_lossy(&body.to_bytes()).into_owned() })
    }
}

impl Reply {
    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}
