//! What a host call answers when it is not well.

/// A status of the ABI other than `Ok` (`WasmResult` in proxy-wasm).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostError {
    /// There is no such thing.
    NotFound,
    /// An argument that the host does not take, or not at this moment.
    BadArgument,
    /// The shared data was changed by somebody else in the meantime.
    CasMismatch,
    /// The host does not offer this call; every call outside of a Wasm VM.
    Unimplemented,
    /// Any other status, as its number.
    Other(u32),
}

impl HostError {
    #[cold]
    fn of(status: u32) -> Self {
        match status {
            1 => Self::NotFound,
            2 => Self::BadArgument,
            8 => Self::CasMismatch,
            12 => Self::Unimplemented,
            other => Self::Other(other),
        }
    }
}

impl std::fmt::Display for HostError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotFound => out.write_str("not found"),
            Self::BadArgument => out.write_str("bad argument"),
            Self::CasMismatch => out.write_str("changed in the meantime"),
            Self::Unimplemented => out.write_str("not offered by the host"),
            Self::Other(status) => write!(out, "host status {status}"),
        }
    }
}

impl std::error::Error for HostError {}

/// Turns a status into a result.
#[inline]
pub(crate) fn check(status: u32) -> Result<(), HostError> {
    if status == 0 { Ok(()) } else { Err(HostError::of(status)) }
}

/// Takes "not found" for an answer.
pub(crate) fn optional<T>(result: Result<T, HostError>) -> Result<Option<T>, HostError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(HostError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_is_a_result() {
        assert_eq!(check(0), Ok(()));
        assert_eq!(check(10), Err(HostError::Other(10)));
        assert_eq!(optional::<()>(check(1)), Ok(None));
        assert_eq!(optional::<()>(check(2)), Err(HostError::BadArgument));
    }
}
