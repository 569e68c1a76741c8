//! HTTP/2 by the byte, for what no honest client sends.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A frame that was received.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// Whether nothing follows on its stream.
    pub(crate) fn ends_stream(&self) -> bool {
        const END_STREAM: u8 = 1;
        self.kind == RST_STREAM || (self.kind == HEADERS && self.flags & END_STREAM != 0)
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_HEADERS: u8 = 4;

/// The head of a call of `StreamSecrets`, without Huffman codes or a dynamic table (RFC 7541).
pub(crate) fn call(more: &[(&str, &str)]) -> Vec<u8> {
    // `:method: POST`, `:scheme: http`.
    let mut block = vec![0x83, 0x86];
    let path = "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets";
    let fields = [
        (":path", path),
        (":authority", "sds"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    for (name, value) in fields.iter().chain(more) {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).expect("shorter than 127"));
            block.extend(text.as_bytes());
        }
    }
    block
}

/// A gRPC message that subscribes `default`.
pub(crate) fn subscription() -> Vec<u8> {
    let message = b"\x1a\x07default";
    let length = u32::try_from(message.len()).expect("short").to_be_bytes();
    [&[0], length.as_slice(), message].concat()
}

/// An HTTP/2 client that writes what it likes, and reads nothing unless told to.
pub(crate) struct Raw(pub(crate) UnixStream);

impl Raw {
    pub(crate) fn connect(socket: &Path) -> Self {
        let mut stream = UnixStream::connect(socket).expect("connected");
        stream.set_write_timeout(Some(Duration::from_millis(500))).expect("a timeout");
        let hello = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &[])];
        stream.write_all(&hello.concat()).expect("written");
        Self(stream)
    }

    /// Writes up to `count` times; ends early when the server closes or takes no more.
    pub(crate) fn flood(&mut self, count: u32, mut bytes: impl FnMut(u32) -> Vec<u8>) {
        for turn in 0..count {
            match self.0.write_all(&bytes(turn)) {
                Ok(()) => {}
                Err(error) => {
                    let expected = [
                        ErrorKind::BrokenPipe,
                        ErrorKind::ConnectionReset,
                        ErrorKind::WouldBlock,
                        ErrorKind::TimedOut,
                    ];
                    assert!(expected.contains(&error.kind()), "{error}");
                    return;
                }
            }
        }
    }

    /// The next frame; `None` when the server has closed the connection.
    pub(crate) fn read(&mut self) -> Option<Frame> {
        self.0.set_read_timeout(Some(super::PATIENCE)).expect("a timeout");
        let mut head = [0; 9];
        match self.0.read_exact(&mut head) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("nothing came"),
            read => read.ok()?,
        }
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.0.read_exact(&mut payload).ok()?;
        Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }
}
