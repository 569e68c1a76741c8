//! The `StartupMessage` of protocol 3.x: its parameters, and how one is written.

use crate::packet::{MAX_STARTUP_PACKET, PacketError, ProtocolVersion};

/// A key and its value, neither with a NUL.
///
/// Postgres takes the keys `user`, `database`, `options` and `replication` literally; every other one is a GUC and compared
/// without regard to case.
pub type Parameter<'a> = (&'a [u8], &'a [u8]);

/// What a client asks for when it opens a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartupMessage<'a> {
    /// 3.0, 3.2, or a later minor version that Postgres will negotiate down.
    pub version: ProtocolVersion,
    /// In the order of the packet, duplicates and all.
    pub parameters: Vec<Parameter<'a>>,
}

/// The packet to write would exceed [`MAX_STARTUP_PACKET`]; this is its length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartupTooLong(pub usize);

impl std::fmt::Display for StartupTooLong {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "rewritten start-up packet of {} bytes, Postgres accepts up to {MAX_STARTUP_PACKET}",
            self.0
        )
    }
}

impl std::error::Error for StartupTooLong {}

impl<'a> StartupMessage<'a> {
    /// Reads what follows the version. The empty key that ends the list must be the packet's last byte.
    pub(crate) fn read(version: ProtocolVersion, content: &'a [u8]) -> Result<Self, PacketError> {
        let mut parameters = Vec::new();
        let mut rest = content;
        loop {
            let (key, after_key) =
                c_string(rest).ok_or(PacketError::Layout("the terminator is missing"))?;
            if key.is_empty() {
                return if after_key.is_empty() {
                    Ok(Self { version, parameters })
                } else {
                    Err(PacketError::Layout("the terminator is not the last byte"))
                };
            }
            let (value, after_value) =
                c_string(after_key).ok_or(PacketError::Layout("a key has no value"))?;
            parameters.push((key, value));
            rest = after_value;
        }
    }

    /// The value that Postgres would use for a key that it takes literally: the last one.
    pub fn last(&self, key: &str) -> Option<&'a [u8]> {
        self.parameters
            .iter()
            .rev()
            .find(|(known, _)| *known == key.as_bytes())
            .map(|(_, value)| *value)
    }
}

/// Takes a NUL-terminated string off the front.
fn c_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|&byte| byte == 0)?;
    let (string, rest) = bytes.split_at_checked(end)?;
    Some((string, rest.get(1..)?))
}

/// Room for most packets, in bytes.
const USUAL_PACKET: usize = 512;

/// Writes a start-up packet. A parameter with an empty key or a NUL in it cannot be said in this format and is left out.
pub fn encode_startup<'p>(
    version: ProtocolVersion,
    parameters: impl IntoIterator<Item = Parameter<'p>>,
) -> Result<Vec<u8>, StartupTooLong> {
    let mut packet = Vec::with_capacity(USUAL_PACKET);
    packet.extend([0; 4]);
    packet.extend(version.major.to_be_bytes());
    packet.extend(version.minor.to_be_bytes());
    for (key, value) in parameters {
        if key.is_empty() || key.contains(&0) || value.contains(&0) {
            continue;
        }
        packet.extend(key);
        packet.push(0);
        packet.extend(value);
        packet.push(0);
    }
    packet.push(0);
    let size = packet.len();
    match u32::try_from(size) {
        Ok(length) if size <= MAX_STARTUP_PACKET => {
            if let Some(place) = packet.first_chunk_mut() {
                *place = length.to_be_bytes();
            }
            Ok(packet)
        }
        _ => Err(StartupTooLong(size)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Packet, read_packet};

    const V3: ProtocolVersion = ProtocolVersion { major: 3, minor: 0 };

    fn parameter<'a>(key: &'a str, value: &'a str) -> Parameter<'a> {
        (key.as_bytes(), value.as_bytes())
    }

    #[test]
    fn what_is_written_is_read_again() {
        let parameters =
            [parameter("user", "api"), parameter("database", ""), parameter("user", "postgres")];
        let packet = encode_startup(V3, parameters).unwrap();
        let Packet::Startup(message) = read_packet(&packet).unwrap().unwrap().packet else {
            panic!("no start-up message");
        };
        assert_eq!(message.parameters, parameters);
        assert_eq!(message.last("user"), Some("postgres".as_bytes()));
        assert_eq!(message.last("database"), Some("".as_bytes()));
        assert_eq!(message.last("USER"), None);
    }

    #[test]
    fn layouts_that_postgres_refuses_are_refused() {
        for (content, expected) in [
            ("", "the terminator is missing"),
            ("user\0api\0", "the terminator is missing"),
            ("user\0api\0\0\0", "the terminator is not the last byte"),
            ("user\0api\0\0x", "the terminator is not the last byte"),
            ("user\0api", "a key has no value"),
            ("user\0", "a key has no value"),
            ("user", "the terminator is missing"),
        ] {
            assert_eq!(
                StartupMessage::read(V3, content.as_bytes()),
                Err(PacketError::Layout(expected)),
                "{content:?}"
            );
        }
        assert_eq!(StartupMessage::read(V3, b"\0").unwrap().parameters, []);
    }

    #[test]
    fn parameters_that_would_forge_others_are_left_out() {
        let packet = encode_startup(
            V3,
            [parameter("a\0user", "x"), parameter("b", "x\0role\0y"), parameter("", "z")],
        );
        assert_eq!(packet, Ok(vec![0, 0, 0, 9, 0, 3, 0, 0, 0]));
    }

    #[test]
    fn the_written_packet_obeys_the_limit() {
        let value = "v".repeat(MAX_STARTUP_PACKET - 8 - "key\0\0\0".len());
        assert_eq!(
            encode_startup(V3, [parameter("key", &value)]).unwrap().len(),
            MAX_STARTUP_PACKET
        );
        let longer = value + "v";
        assert_eq!(
            encode_startup(V3, [parameter("key", &longer)]),
            Err(StartupTooLong(MAX_STARTUP_PACKET + 1))
        );
    }
}
