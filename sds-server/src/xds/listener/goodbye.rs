//! What a peer is told that is refused before anything of it was read.

/// An HTTP/2 server that goes away before the first stream: gRPC clients see UNAVAILABLE, with the
/// reason where they show it, and connect again later. One write, no state (RFC 9113 §3.4, §6.8).
pub(super) fn goodbye(reason: &str) -> Vec<u8> {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const GOAWAY: u8 = 7;
    /// Nothing was processed: everything may be asked again.
    const REFUSED_STREAM: u8 = 7;
    let mut bytes = SETTINGS.to_vec();
    let length = u8::try_from(8 + reason.len()).unwrap_or(u8::MAX);
    let reason = &reason.as_bytes()[..usize::from(length) - 8];
    bytes.extend([0, 0, length, GOAWAY, 0, 0, 0, 0, 0]);
    bytes.extend([0, 0, 0, 0, 0, 0, 0, REFUSED_STREAM]);
    bytes.extend(reason);
    bytes
}
