//! Small values with a form of their own.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A SPIFFE ID written in the configuration.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct ConfiguredId(pub spiffe::SpiffeId);

impl TryFrom<String> for ConfiguredId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        spiffe::SpiffeId::new(&text)
            .map(Self)
            .map_err(|e| format!("SPIFFE ID `{text}`: {e}; accepted is spiffe://trust-domain/path"))
    }
}

/// Permissions of a socket: four octal digits in quotes, as in `"0660"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct FileMode(u32);

impl FileMode {
    /// `0660`.
    pub const OWNER_AND_GROUP: Self = Self(0o660);

    /// The permission bits.
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl From<FileMode> for String {
    fn from(mode: FileMode) -> Self {
        format!("{:04o}", mode.0)
    }
}

impl TryFrom<String> for FileMode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        (text.len() == 4 && text.starts_with('0'))
            .then(|| u32::from_str_radix(&text, 8).ok())
            .flatten()
            .map(Self)
            .ok_or_else(|| format!("mode `{text}`: accepted are four octal digits, as in \"0660\""))
    }
}

/// A SHA-256 digest in 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct Sha256Digest([u8; 32]);

impl From<[u8; 32]> for Sha256Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl TryFrom<String> for Sha256Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(&text, &mut bytes).map_err(|_| {
            format!("sha256 `{text}`: accepted are 64 hex digits, as `sha256sum` prints them")
        })?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::{FileMode, Sha256Digest};

    #[test]
    fn a_mode_is_octal() {
        assert_eq!(FileMode::try_from("0600".to_owned()).map(FileMode::bits), Ok(0o600));
        for text in ["660", "0888", "rw-rw----", "00660", "+660"] {
            assert!(FileMode::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_digest_has_64_hex_digits() {
        let text = "ab".repeat(32);
        assert_eq!(Sha256Digest::try_from(text.clone()).expect("digest").to_string(), text);
        assert!(Sha256Digest::try_from("ab".repeat(31)).is_err());
    }
}
