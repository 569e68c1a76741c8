//! A GET to an admin listener, over TCP or a Unix socket.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// How long the server may take for each step.
const PATIENCE: Duration = Duration::from_secs(5);

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
pub(super) enum AskError {
    #[error(
        "no answer from {admin}: {source}; is sds-server running, and is this its `admin.listen`?"
    )]
    NoAnswer { admin: Admin, source: io::Error },
    #[error("{admin} answers {found}; accepted is 200")]
    Refused { admin: Admin, found: String },
    #[error("{admin} answers what no sds-server does: {reason}")]
    Strange { admin: Admin, reason: String },
}

impl FromStr for Admin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix://").filter(|path| path.starts_with('/')) {
            return Ok(Self::Unix(path.into()));
        }
        text.strip_prefix("http://")
            .map(|rest| rest.trim_end_matches('/'))
            .filter(|authority| authority.contains(':') && !authority.contains('/'))
            .map(|authority| Self::Tcp(authority.to_owned()))
            .ok_or_else(|| "accepted are http://ADDRESS:PORT and unix:///absolute/path".to_owned())
    }
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
        let answer = self
            .exchange(path)
            .map_err(|source| AskError::NoAnswer { admin: self.clone(), source })?;
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .ok_or_else(|| self.strange(&"it ends within the headers"))?;
        let status = head.lines().next().unwrap_or_default();
        if status.split(' ').nth(1) != Some("200") {
            let found = format!("`{status}` {}", body.trim());
            return Err(AskError::Refused { admin: self.clone(), found });
        }
        Ok(body.to_owned())
    }

    /// Says that the answer is none of an sds-server.
    pub(super) fn strange(&self, reason: &impl fmt::Display) -> AskError {
        AskError::Strange { admin: self.clone(), reason: reason.to_string() }
    }

    fn exchange(&self, path: &str) -> io::Result<String> {
        match self {
            Self::Tcp(authority) => {
                let stream = TcpStream::connect(authority)?;
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

/// HTTP/1.0: the answer is whole when the server closes.
fn get(mut stream: impl Read + Write, host: &str, path: &str) -> io::Result<String> {
    let request = format!("GET {path} HTTP/1.0\r\nhost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
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
        for text in ["", "127.0.0.1:9902", "https://x:1", "http://x", "http://x:1/y", "unix://y"] {
            let refusal = text.parse::<Admin>().expect_err(text);
            assert!(refusal.contains("unix:///"), "{refusal}");
        }
    }
}
