//! The message by which a server says no.

/// The classes of refusal that the filter knows (PostgreSQL manual, appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SqlState {
    /// `28000`: this identity may not, or not as this user.
    InvalidAuthorization,
    /// `3D000`: no rule gives this identity this database.
    InvalidCatalogName,
    /// `42501`: a parameter that the client may not set.
    InsufficientPrivilege,
    /// `08P01`: bytes that are not the protocol.
    ProtocolViolation,
    /// `0A000`: something that is not offered here.
    FeatureNotSupported,
    /// `57P01`: the session's reason has ended.
    AdminShutdown,
}

impl SqlState {
    /// The five characters of the protocol.
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidAuthorization => "28000",
            Self::InvalidCatalogName => "3D000",
            Self::InsufficientPrivilege => "42501",
            Self::ProtocolViolation => "08P01",
            Self::FeatureNotSupported => "0A000",
            Self::AdminShutdown => "57P01",
        }
    }
}

/// A fatal error for the client. Bytes of the peer may stand in the texts: NULs are taken out when it is encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorResponse {
    /// Class of the error.
    pub state: SqlState,
    /// One line: what is wrong.
    pub message: String,
    /// More about this case; empty for none.
    pub detail: String,
    /// What to do; empty for none.
    pub hint: String,
}

impl ErrorResponse {
    /// The message's bytes, type and length included.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for (field, text) in [
            (b'S', "FATAL"),
            (b'V', "FATAL"),
            (b'C', self.state.code()),
            (b'M', &self.message),
            (b'D', &self.detail),
            (b'H', &self.hint),
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
        let error = ErrorResponse {
            state: SqlState::InvalidAuthorization,
            message: "no\0 way".into(),
            detail: String::new(),
            hint: "ask".into(),
        };
        assert_eq!(
            error.encode(),
            b"E\0\0\0\x27SFATAL\0VFATAL\0C28000\0Mno way\0Hask\0\0".as_slice()
        );
    }
}
