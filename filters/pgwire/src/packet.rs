//! Framing of the packets that come before authentication.

use crate::startup::StartupMessage;

/// Longest start-up packet that Postgres reads, in bytes with its length field (`MAX_STARTUP_PACKET_LENGTH` + 4).
pub const MAX_STARTUP_PACKET: usize = 10_004;
/// Shortest one: a length and a code.
const MIN_STARTUP_PACKET: usize = 8;

const CANCEL_CODE: u32 = 80_877_102;
const SSL_CODE: u32 = 80_877_103;
const GSSENC_CODE: u32 = 80_877_104;
/// Cancel keys have 4 bytes in protocol 3.0, up to 256 from 3.2 on.
const CANCEL_KEY: std::ops::RangeInclusive<usize> = 4..=256;

/// The packet that asks for TLS.
pub const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// The packet that asks for GSSAPI encryption.
pub const GSSENC_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];
/// The messages that end a session at a boundary of the client's, whatever it is at: a `CopyFail`, which fails a running
/// COPY and is ignored where none runs, and a `Terminate`, which amid a COPY would be an unexpected message.
pub const FINISH: &[u8] = b"f\0\0\0\x1asignet: session ended\0X\0\0\0\x04";
/// The message that ends a session for replication: one that streams takes a `CopyFail` for an unknown message.
pub const TERMINATE: &[u8] = b"X\0\0\0\x04";

/// A protocol version, such as 3.0 or 3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolVersion {
    /// Only 3 is spoken today.
    pub major: u16,
    /// Postgres negotiates an unknown one down.
    pub minor: u16,
}

/// A request to cancel the query of another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CancelRequest<'a> {
    /// Process id of the backend, as its `BackendKeyData` told it.
    pub pid: u32,
    /// The secret of that backend, 4 to 256 bytes.
    pub key: &'a [u8],
}

/// One whole packet of the start-up phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Asks for TLS; answered by one byte.
    SslRequest,
    /// Asks for GSSAPI encryption; answered by one byte.
    GssEncRequest,
    /// Asks to cancel a query; never answered.
    Cancel(CancelRequest<'a>),
    /// Opens a session with protocol 3.x.
    Startup(StartupMessage<'a>),
    /// A start-up of another major version, whose content has an unknown form. Postgres answers it by an error.
    OtherVersion(ProtocolVersion),
}

/// A packet, and what the client sent behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The packet.
    pub packet: Packet<'a>,
    /// Bytes pipelined behind the packet.
    pub rest: &'a [u8],
}

/// Why bytes are no start-up packet. More bytes cannot mend any of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketError {
    /// The length field is out of bounds. Postgres closes without a word.
    Length(u32),
    /// The length is fine, the content is not. Postgres answers `08P01`.
    Layout(&'static str),
}

impl std::fmt::Display for PacketError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Length(found) => {
                write!(
                    out,
                    "start-up packet of {found} bytes, accepted are {MIN_STARTUP_PACKET} to {MAX_STARTUP_PACKET}"
                )
            }
            Self::Layout(fault) => write!(out, "invalid start-up packet: {fault}"),
        }
    }
}

impl std::error::Error for PacketError {}

/// Reads the packet at the beginning of all that a client has sent so far; `None` while it is not whole.
///
/// A length that can never be right is an error at its fourth byte already.
pub fn read_packet(bytes: &[u8]) -> Result<Option<Frame<'_>>, PacketError> {
    let Some((length, after_length)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length);
    let size = usize::try_from(length).unwrap_or(usize::MAX);
    if !(MIN_STARTUP_PACKET..=MAX_STARTUP_PACKET).contains(&size) {
        return Err(PacketError::Length(length));
    }
    let Some((packet, rest)) = after_length.split_at_checked(size - 4) else {
        return Ok(None);
    };
    let Some((code, content)) = packet.split_first_chunk::<4>() else {
        return Err(PacketError::Length(length));
    };
    let packet = read_content(u32::from_be_bytes(*code), content)?;
    Ok(Some(Frame { packet, rest }))
}

fn read_content(code: u32, content: &[u8]) -> Result<Packet<'_>, PacketError> {
    match code {
        SSL_CODE if content.is_empty() => Ok(Packet::SslRequest),
        GSSENC_CODE if content.is_empty() => Ok(Packet::GssEncRequest),
        SSL_CODE | GSSENC_CODE => Err(PacketError::Layout("an encryption request has no content")),
        CANCEL_CODE => match content.split_first_chunk::<4>() {
            Some((pid, key)) if CANCEL_KEY.contains(&key.len()) => {
                Ok(Packet::Cancel(CancelRequest { pid: u32::from_be_bytes(*pid), key }))
            }
            _ => Err(PacketError::Layout(
                "a cancel request has a process id and a key of 4 to 256 bytes",
            )),
        },
        code => {
            let [major_high, major_low, minor_high, minor_low] = code.to_be_bytes();
            let version = ProtocolVersion {
                major: u16::from_be_bytes([major_high, major_low]),
                minor: u16::from_be_bytes([minor_high, minor_low]),
            };
            if version.major == 3 {
                StartupMessage::read(version, content).map(Packet::Startup)
            } else {
                Ok(Packet::OtherVersion(version))
            }
        }
    }
}

/// A start-up packet that names a version and nothing else: it lets Postgres itself answer a foreign version, with
/// nothing in it that a server could take for a user.
pub fn version_probe(version: ProtocolVersion) -> [u8; 8] {
    let [[a, b], [c, d]] = [version.major.to_be_bytes(), version.minor.to_be_bytes()];
    [0, 0, 0, 8, a, b, c, d]
}

/// The packet that cancels what a backend is at.
pub fn cancel_request(pid: u32, key: &[u8]) -> Vec<u8> {
    // A key that is longer than any is not one, and neither is what comes of it.
    let size = u32::try_from(key.len()).unwrap_or(u32::MAX).saturating_add(12);
    [&size.to_be_bytes(), &CANCEL_CODE.to_be_bytes(), &pid.to_be_bytes(), key].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_length(code: u32, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(8 + content.len()).unwrap();
        [&length.to_be_bytes(), &code.to_be_bytes(), content].concat()
    }

    fn packets() -> Vec<Vec<u8>> {
        vec![
            SSL_REQUEST.to_vec(),
            GSSENC_REQUEST.to_vec(),
            with_length(CANCEL_CODE, &[0, 0, 1, 2, 9, 9, 9, 9]),
            with_length(CANCEL_CODE, &[7; 260]),
            with_length(0x0003_0000, b"user\0api\0database\0customers\0\0"),
            with_length(0x0003_270f, b"user\0api\0_pq_.x\0y\0\0"),
            with_length(0x0002_0000, b"anything"),
        ]
    }

    #[test]
    fn every_split_gives_nothing_until_whole_and_the_same_packet_then() {
        for whole in packets() {
            let expected = read_packet(&whole).unwrap().unwrap();
            assert!(expected.rest.is_empty());
            for split in 0..whole.len() {
                assert_eq!(read_packet(&whole[..split]), Ok(None), "{whole:?} cut at {split}");
            }
            let pipelined = [whole.as_slice(), b"Q\0\0\0\x08x;\0"].concat();
            let frame = read_packet(&pipelined).unwrap().unwrap();
            assert_eq!(frame.packet, expected.packet);
            assert_eq!(frame.rest, b"Q\0\0\0\x08x;\0");
        }
    }

    #[test]
    fn kinds_are_told_by_their_code() {
        let kind = |bytes: &[u8]| match read_packet(bytes).unwrap().unwrap().packet {
            Packet::SslRequest => "ssl",
            Packet::GssEncRequest => "gss",
            Packet::Cancel(_) => "cancel",
            Packet::Startup(_) => "startup",
            Packet::OtherVersion(_) => "other",
        };
        let kinds: Vec<_> = packets().iter().map(|bytes| kind(bytes)).collect();
        assert_eq!(kinds, ["ssl", "gss", "cancel", "cancel", "startup", "startup", "other"]);
    }

    #[test]
    fn lengths_have_bounds() {
        for length in [0_u32, 4, 7, 10_005, 0x7fff_ffff, 0xffff_ffff] {
            assert_eq!(read_packet(&length.to_be_bytes()), Err(PacketError::Length(length)));
        }
        for length in [8_u32, 10_004] {
            assert_eq!(read_packet(&length.to_be_bytes()), Ok(None));
        }
    }

    #[test]
    fn content_that_does_not_fit_its_code_is_a_layout_error() {
        for bytes in [
            with_length(SSL_CODE, b"x"),
            with_length(GSSENC_CODE, b"x"),
            with_length(CANCEL_CODE, &[0; 7]),
            with_length(CANCEL_CODE, &[0; 261]),
        ] {
            assert!(matches!(read_packet(&bytes), Err(PacketError::Layout(_))), "{bytes:?}");
        }
    }

    #[test]
    fn a_probe_is_a_packet_of_its_version() {
        let version = ProtocolVersion { major: 2, minor: 0 };
        assert_eq!(
            read_packet(&version_probe(version)).unwrap().unwrap().packet,
            Packet::OtherVersion(version)
        );
    }

    #[test]
    fn a_written_cancel_is_read_again() {
        for key in [b"abcd".as_slice(), &[7; 32], &[7; 256]] {
            let packet = cancel_request(258, key);
            let frame = read_packet(&packet).unwrap().unwrap();
            assert_eq!(frame.packet, Packet::Cancel(CancelRequest { pid: 258, key }));
            assert!(frame.rest.is_empty());
        }
    }

    #[test]
    fn no_bytes_whatsoever_panic() {
        // A small generator (xorshift) instead of a dependency: 200,000 packets of plausible lengths and codes.
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for _ in 0..200_000 {
            let length = u32::try_from(next() % 40).unwrap();
            let code = [CANCEL_CODE, SSL_CODE, GSSENC_CODE, 0x0003_0000, 0x0003_0002, 0x0002_0000]
                [(next() % 6) as usize];
            let mut bytes = [length.to_be_bytes(), code.to_be_bytes()].concat();
            bytes.extend((0..next() % 40).map(|_| b"\0\0ab="[(next() % 5) as usize]));
            if let Ok(Some(frame)) = read_packet(&bytes) {
                assert!(bytes.ends_with(frame.rest));
            }
        }
    }
}
