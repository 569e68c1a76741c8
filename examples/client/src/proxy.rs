//! The way to the client's own sidecar: plain HTTP/1.1 over loopback or a Unix socket.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::exchange::Fault;

/// An open connection to the sidecar.
pub(crate) type Connection = SendRequest<Full<Bytes>>;

/// Where the sidecar listens for us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proxy {
    Unix(PathBuf),
    Loopback(SocketAddr),
}

impl FromStr for Proxy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const ACCEPTED: &str = "accepted: unix:PATH or http://127.0.0.1:PORT";
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        let address = text
            .strip_prefix("http://")
            .map(|rest| rest.trim_end_matches('/').parse::<SocketAddr>());
        match address {
            Some(Ok(address)) if address.ip().is_loopback() => Ok(Self::Loopback(address)),
            Some(Ok(address)) => Err(format!(
                "{address} is another machine, and this hop is not encrypted; {ACCEPTED}"
            )),
            _ => Err(format!("{text:?} is no proxy; {ACCEPTED}")),
        }
    }
}

/// What the `host` header says where nobody chose.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(_) => f.write_str("localhost"),
            Self::Loopback(address) => address.fmt(f),
        }
    }
}

impl Proxy {
    /// Opens a connection, which lives as long as what is returned.
    pub(crate) async fn connect(&self) -> Result<Connection, Fault> {
        match self {
            Self::Unix(path) => {
                speak_http(UnixStream::connect(path).await.map_err(Fault::Connect)?).await
            }
            Self::Loopback(address) => {
                speak_http(TcpStream::connect(address).await.map_err(Fault::Connect)?).await
            }
        }
    }
}

async fn speak_http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<Connection, Fault> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // Its errors reach whoever waits for an answer.
    tokio::spawn(connection);
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_sidecar_is_a_proxy() {
        for (text, expected) in [
            ("unix:/run/client.sock", Ok("localhost")),
            ("http://127.0.0.1:8001", Ok("127.0.0.1:8001")),
            ("http://[::1]:8001/", Ok("[::1]:8001")),
            ("http://10.0.0.1:80", Err("10.0.0.1:80 is another machine")),
            ("https://127.0.0.1:80", Err("is no proxy; accepted: unix:PATH")),
            ("127.0.0.1:80", Err("is no proxy")),
            ("unix:", Err("is no proxy")),
        ] {
            match (text.parse::<Proxy>(), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found.to_string(), expected),
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{text}: {found}"),
                (found, expected) => panic!("{text}: {found:?} instead of {expected:?}"),
            }
        }
    }
}
