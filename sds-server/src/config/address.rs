//! Addresses as operators write them.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

/// `unix:///absolute/path`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct UnixAddress(PathBuf);

impl UnixAddress {
    /// The socket's path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl TryFrom<String> for UnixAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.strip_prefix("unix://")
            .or_else(|| text.strip_prefix("unix:"))
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .map(Self)
            .ok_or_else(|| format!("socket `{text}`: accepted is unix:///absolute/path"))
    }
}

impl fmt::Display for UnixAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "unix://{}", self.0.display())
    }
}

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub enum Address {
    /// `127.0.0.1:9902`, `[::1]:9902`.
    Tcp(SocketAddr),
    /// `unix:///path`.
    Unix(UnixAddress),
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.starts_with("unix:") {
            return UnixAddress::try_from(text).map(Self::Unix);
        }
        text.parse().map(Self::Tcp).map_err(|_| {
            let accepted = "accepted are IP:PORT as in 127.0.0.1:9902, and unix:///absolute/path";
            format!("address `{text}`: {accepted}")
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(out),
            Self::Unix(address) => address.fmt(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn an_address_is_printed_as_it_is_written() {
        for text in ["127.0.0.1:0", "[::1]:9902", "unix:///run/signet/admin.sock"] {
            assert_eq!(Address::try_from(text.to_owned()).expect(text).to_string(), text);
        }
        for text in ["", "localhost", "9902", "unix://relative.sock", "tcp://127.0.0.1:1"] {
            assert!(Address::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
