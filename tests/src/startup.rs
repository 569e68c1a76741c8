//! The start-up phase of the Postgres protocol, by hand: packets as no driver would send them.

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Protocol 3.0.
pub const PROTOCOL_3_0: u32 = 0x0003_0000;
/// Protocol 3.2, since PostgreSQL 18: cancel keys are longer.
pub const PROTOCOL_3_2: u32 = 0x0003_0002;
const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;

/// How the other side answered a StartupMessage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An ErrorResponse, by its SQLSTATE and message.
    Refused {
        /// Five characters, e.g. `28000`.
        sqlstate: String,
        /// What a person reads.
        message: String,
    },
    /// It lets us in (`AuthenticationOk`).
    Welcome,
    /// The connection ended without a word.
    Silence,
}

impl Answer {
    /// The SQLSTATE of a refusal, else an empty string.
    pub fn sqlstate(&self) -> &str {
        match self {
            Self::Refused { sqlstate, .. } => sqlstate,
            Self::Welcome | Self::Silence => "",
        }
    }
}

/// A StartupMessage of protocol 3.0 with these parameters, in this order, repeated ones too.
pub fn message(parameters: &[(&str, &str)]) -> Vec<u8> {
    message_of(PROTOCOL_3_0, parameters)
}

/// The same of another protocol version.
pub fn message_of(version: u32, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    for (key, value) in parameters {
        for text in [key, value] {
            body.extend_from_slice(text.as_bytes());
            body.push(0);
        }
    }
    body.push(0);
    with_length(body)
}

/// An SSLRequest.
pub fn ssl_request() -> Vec<u8> {
    with_length(SSL_REQUEST.to_be_bytes().to_vec())
}

/// A GSSENCRequest.
pub fn gssenc_request() -> Vec<u8> {
    with_length(GSSENC_REQUEST.to_be_bytes().to_vec())
}

/// A CancelRequest. `backend` is what its BackendKeyData said: process id and key.
pub fn cancel_request(backend: &[u8]) -> Vec<u8> {
    with_length([&CANCEL_REQUEST.to_be_bytes(), backend].concat())
}

fn with_length(body: Vec<u8>) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [length.to_be_bytes().to_vec(), body].concat()
}

/// Sends the pieces one after another, each on its own, and reads the answer.
pub async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    pieces: &[&[u8]],
) -> Result<Answer> {
    for (number, piece) in pieces.iter().enumerate() {
        if number > 0 {
            // A pace, not a wait for something: nothing tells when the other side has read a piece. Pieces that it
            // reads together are one split less; the fuzz of `wasm-host` cuts start-ups without a network.
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        // A refusal may come, and the connection end, before the last piece is sent.
        if stream.write_all(piece).await.is_err() || stream.flush().await.is_err() {
            break;
        }
    }
    read_answer(stream).await
}

/// Reads the one byte that answers an SSLRequest.
pub async fn read_byte(stream: &mut (impl AsyncRead + Unpin)) -> Result<u8> {
    stream.read_u8().await.context("the SSLRequest got no answer")
}

/// Reads the first message of the other side.
pub async fn read_answer(stream: &mut (impl AsyncRead + Unpin)) -> Result<Answer> {
    let Ok((kind, body)) = read_message(stream).await else { return Ok(Answer::Silence) };
    match kind {
        b'R' => Ok(Answer::Welcome),
        b'E' => Ok(refusal(&body)),
        other => bail!("an answer of type {:?}; accepted are R and E", char::from(other)),
    }
}

/// After a [`Answer::Welcome`], asks who the session is in Postgres.
pub async fn session_user(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<String> {
    stream.write_all(&query("select session_user::text")).await?;
    stream.flush().await?;
    first_value(stream).await
}

/// Reads on to the first row and returns its first value.
pub async fn first_value(stream: &mut (impl AsyncRead + Unpin)) -> Result<String> {
    loop {
        let (kind, body) = read_message(stream).await?;
        match kind {
            // Number of columns, length of the first, its text.
            b'D' => {
                return Ok(String::from_utf8_lossy(body.get(6..).unwrap_or_default()).into_owned());
            }
            b'E' => bail!("{:?}", refusal(&body)),
            _ => {}
        }
    }
}

/// Reads a message: its type and its body.
pub async fn read_message(stream: &mut (impl AsyncRead + Unpin)) -> Result<(u8, Vec<u8>)> {
    let kind = stream.read_u8().await.context("the session ended")?;
    let length = stream.read_u32().await.context("the message has no length")?;
    let mut body = vec![0; length.saturating_sub(4).min(65_536) as usize];
    stream.read_exact(&mut body).await.context("the message broke off")?;
    Ok((kind, body))
}

/// A query message.
pub fn query(sql: &str) -> Vec<u8> {
    [b"Q", with_length([sql.as_bytes(), b"\0"].concat()).as_slice()].concat()
}

/// A field of an ErrorResponse's body by its letter; empty if it is not there. The body is a list of a letter, a text, and
/// NUL, and ends in a lone NUL.
pub fn field(body: &[u8], letter: u8) -> String {
    let text = body.split(|byte| *byte == 0).find_map(|field| field.strip_prefix(&[letter]));
    String::from_utf8_lossy(text.unwrap_or_default()).into_owned()
}

fn refusal(body: &[u8]) -> Answer {
    Answer::Refused { sqlstate: field(body, b'C'), message: field(body, b'M') }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_have_the_length_that_they_name() {
        assert_eq!(ssl_request(), [0, 0, 0, 8, 4, 210, 22, 47]);
        let packet = message(&[("user", "api")]);
        assert_eq!(packet.len(), 18);
        assert_eq!(packet[..4], 18_u32.to_be_bytes());
    }

    #[tokio::test]
    async fn refusals_are_read_by_their_fields() {
        let mut bytes: &[u8] = b"E\0\0\0\x1bSFATAL\0C28000\0Mdenied\0\0";
        let answer = read_answer(&mut bytes).await.unwrap();
        assert_eq!(answer, Answer::Refused { sqlstate: "28000".into(), message: "denied".into() });
        assert_eq!(read_answer(&mut bytes).await.unwrap(), Answer::Silence);
    }
}
