//! What Postgres makes of the bytes that reach it, written down from `ProcessStartupPacket` (PostgreSQL 15 to 18) and from
//! nothing else: shares no code with `pgwire`.

/// Of a backend that no other test has.
const SESSION_START: &[u8] = b"R\0\0\0\x08\0\0\0\0K\0\0\0\x0c\0\0\x02\x02abcdZ\0\0\0\x05I";

/// What the client's bytes have become in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A session would be opened, if authentication lets it.
    Session { user: Vec<u8>, database: Vec<u8>, replicates: bool, settings: Vec<(String, Vec<u8>)> },
    /// A query of this backend would be cancelled.
    Cancel(Vec<u8>),
    /// An error, or the end of the connection.
    Refused,
}

/// A backend before authentication, on a Unix socket.
#[derive(Debug, Default)]
pub(crate) struct Postmaster {
    bytes: Vec<u8>,
    ssl_done: bool,
    gss_done: bool,
    pub(crate) seen: Option<Seen>,
}

impl Postmaster {
    /// Takes bytes; what it answers.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> &'static [u8] {
        if self.seen.is_some() {
            return b"";
        }
        self.bytes.extend(bytes);
        let Some(length) = self.bytes.first_chunk() else { return b"" };
        let length = i64::from(i32::from_be_bytes(*length)) - 4;
        if !(4..=10_000).contains(&length) {
            return self.ends(Seen::Refused, b"");
        }
        let length = usize::try_from(length).unwrap();
        if self.bytes.len() < 4 + length {
            return b"";
        }
        let packet: Vec<u8> = self.bytes[4..4 + length].to_vec();
        self.bytes.drain(..4 + length);
        let code = u32::from_be_bytes(packet[..4].try_into().unwrap());
        match code {
            80_877_102 => self.ends(Seen::Cancel(packet[4..].to_vec()), b""),
            80_877_103 if !self.ssl_done => {
                self.ssl_done = true;
                self.encryption_refused()
            }
            80_877_104 if !self.gss_done => {
                self.gss_done = true;
                self.encryption_refused()
            }
            _ if code >> 16 != 3 => self.ends(Seen::Refused, b"EFATAL: unsupported protocol\n\0"),
            _ => match parameters(&packet) {
                Some(session) => self.ends(session, SESSION_START),
                None => self.ends(Seen::Refused, b"E\0\0\0\x13SFATAL\0C08P01\0\0"),
            },
        }
    }

    /// `received unencrypted data after SSL request`.
    fn encryption_refused(&mut self) -> &'static [u8] {
        if self.bytes.is_empty() { b"N" } else { self.ends(Seen::Refused, b"") }
    }

    fn ends(&mut self, seen: Seen, answer: &'static [u8]) -> &'static [u8] {
        self.seen = Some(seen);
        answer
    }
}

/// The list of strings behind the version. C's strings end at their first NUL, here as there.
fn parameters(packet: &[u8]) -> Option<Seen> {
    let (mut user, mut database) = (Vec::new(), None);
    let (mut replicates, mut settings) = (false, Vec::new());
    let string = |at: usize| -> &[u8] { packet[at..].split(|byte| *byte == 0).next().unwrap() };
    let mut offset = 4;
    while offset < packet.len() {
        let name = string(offset);
        if name.is_empty() {
            break;
        }
        let value_at = offset + name.len() + 1;
        if value_at >= packet.len() {
            break;
        }
        let value = string(value_at);
        match name {
            b"user" => user = value.to_vec(),
            b"database" => database = Some(value.to_vec()),
            b"replication" => replicates = true,
            _ if name.starts_with(b"_pq_.") => {}
            // `options` too: whatever it says is a setting.
            _ => settings.push((String::from_utf8_lossy(name).to_lowercase(), value.to_vec())),
        }
        offset = value_at + value.len() + 1;
    }
    if offset != packet.len() - 1 || user.is_empty() {
        return None;
    }
    let mut database = database.filter(|name| !name.is_empty()).unwrap_or_else(|| user.clone());
    // Names are cut, not refused.
    user.truncate(63);
    database.truncate(63);
    Some(Seen::Session { user, database, replicates, settings })
}
