//! A GET to an admin listener, over TCP or a Unix socket.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// How long the server may take for each step.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longest answer in bytes. A server of a node with a thousand Envoys answers a few millions.
const LONGEST: u64 = 64 * 1024 * 1024;

/// Where a server's admin listener is.
#[derive(Clone, Debug)]
pub(super) enum Admin {
    /// The authority of an `http://` URL.
    Tcp(String),
    /// A socket's path.
    Unix(PathBuf),
}

/// Why a server cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// Nobody is there, or it takes too long.
    #[error(
        "no answer from {admin}: {why}; is sds-server running, and is this its `admin.listen`?"
    )]
    NoAnswer {
        /// Who was asked.
        admin: String,
        /// What the system said.
        why: String,
    },
    /// The server doesn't tell.
    #[error("{admin} answers {found}; accepted is 200")]
    Refused {
        /// Who was asked.
        admin: String,
        /// The status line, and what was said.
        found: String,
    },
    /// Something else listens there.
    #[error("{admin} answers what no sds-server does: {reason}")]
    Strange {
        /// Who was asked.
        admin: String,
        /// What is strange in it.
        reason: String,
    },
}

impl FromStr for Admin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix://").filter(|path| path.starts_with('/')) {
            return Ok(Self::Unix(path.into()));
        }
        text.strip_prefix("http://")
            .map(|rest| rest.trim_end_matches('/'))
            .filter(|authority| has_port(authority))
            .map(|authority| Self::Tcp(authority.to_owned()))
            .ok_or_else(|| "accepted are http://ADDRESS:PORT and unix:///absolute/path".to_owned())
    }
}

/// Whether a text is a host and a port.
fn has_port(authority: &str) -> bool {
    let parts = authority.rsplit_once(':');
    parts.is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

impl fmt::Display for Admin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(authority) => write!(out, "http://{authority}"),
            Self::Unix(path) => write!(out, "unix://{}", path.display()),
        }
    }
}

impl Admin {
    /// The body of the page at `path`.
    pub(super) fn ask(&self, path: &str) -> Result<String, AskError> {
        let no_answer = |error: io::Error| AskError::NoAnswer {
            admin: self.to_string(),
            why: match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                    format!("nothing came within {} s", PATIENCE.as_secs())
                }
                _ => error.to_string(),
            },
        };
        let answer = self.exchange(path).map_err(no_answer)?;
        if answer.len() as u64 > LONGEST {
            return Err(self.strange(&format!("it has more than {LONGEST} bytes")));
        }
        let answer = String::from_utf8(answer).map_err(|_| self.strange(&"it is no text"))?;
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .ok_or_else(|| self.strange(&"it ends within the headers"))?;
        let status = head.lines().next().unwrap_or_default();
        if status.split(' ').nth(1) != Some("200") {
            let found = format!("`{status}` {}", body.trim());
            return Err(AskError::Refused { admin: self.to_string(), found });
        }
        Ok(body.to_owned())
    }

    /// Says that the answer is none of an sds-server.
    pub(super) fn strange(&self, reason: &impl fmt::Display) -> AskError {
        AskError::Strange { admin: self.to_string(), reason: reason.to_string() }
    }

    fn exchange(&self, path: &str) -> io::Result<Vec<u8>> {
        match self {
            Self::Tcp(authority) => {
                let stream = connect(authority)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                get(stream, authority, path)
            }
            Self::Unix(socket) => {
                let stream = UnixStream::connect(socket)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                get(stream, "localhost", path)
            }
        }
    }
}

/// Connects to the first address of an authority that answers.
fn connect(authority: &str) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(ErrorKind::NotFound, "the host has no address");
    for address in authority.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Err(error) => failed = error,
            connected => return connected,
        }
    }
    Err(failed)
}

/// HTTP/1.0: the answer is whole when the server closes. Of one that is too long so much that it is seen.
fn get(mut stream: impl Read + Write, host: &str, path: &str) -> io::Result<Vec<u8>> {
    let request = format!("GET {path} HTTP/1.0\r\nhost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(LONGEST + 1).read_to_end(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::Admin;

    #[test]
    fn an_admin_listener_is_a_url() {
        for text in ["http://127.0.0.1:9902", "http://[::1]:9902", "unix:///run/admin.sock"] {
            assert_eq!(text.parse::<Admin>().expect(text).to_string(), text);
        }
        assert_eq!(
            "http://localhost:1/".parse::<Admin>().expect("valid").to_string(),
            "http://localhost:1"
        );
        for text in [
            "",
            "127.0.0.1:9902",
            "https://x:1",
            "http://x",
            "http://x:1/y",
            "http://[::1]",
            "http://:1",
            "http://x:0",
            "http://x:y",
            "unix://y",
        ] {
            let refusal = text.parse::<Admin>().expect_err(text);
            assert!(refusal.contains("unix:///"), "{refusal}");
        }
    }
}
