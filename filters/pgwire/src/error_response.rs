//! The message by which a server says no.

/// A fatal error for the client. Bytes of the peer may stand in the texts: NULs are taken out when it is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorResponse<'a> {
    /// Class of the error: the five characters of SQLSTATE (PostgreSQL manual, appendix A).
    pub sqlstate: &'a str,
    /// One line: what is wrong.
    pub message: &'a str,
    /// More about this case; empty for none.
    pub detail: &'a str,
    /// What to do; empty for none.
    pub hint: &'a str,
}

impl ErrorResponse<'_> {
    /// The message's bytes, type and length included.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for (field, text) in [
            (b'S', "FATAL"),
            (b'V', "FATAL"),
            (b'C', self.sqlstate),
            (b'M', self.message),
            (b'D', self.detail),
            (b'H', self.hint),
        ] {
            if !text.is_empty() {
                body.push(field);
                body.extend(text.bytes().filter(|&byte| byte != 0));
                body.push(0);
            }
        }
        body.push(0);
        // The texts are bounded by the start-up packet, so the length always fits.
        let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
        let mut message = vec![b'E'];
        message.extend(length.to_be_bytes());
        message.extend(body);
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_in_order_and_empty_ones_are_left_out() {
        let error =
            ErrorResponse { sqlstate: "28000", message: "no\0 way", detail: "", hint: "ask" };
        assert_eq!(
            error.encode(),
            b"E\0\0\0\x27SFATAL\0VFATAL\0C28000\0Mno way\0Hask\0\0".as_slice()
        );
    }
}
