//! A plugin's configuration, and what to do with one that cannot be read.

use std::fmt::Display;

use crate::{Buffer, HostError, Level, log, read_buffer, read_shared_data, write_shared_data};

/// The fingerprint of the newest configuration that this process has accepted, for all VMs of the same `vm_id`.
const ACCEPTED: &str = "signet.accepted";

/// Tells configurations apart: FNV-1a, 64 bits. Nothing is trusted for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(u64);

impl Fingerprint {
    fn of(bytes: &[u8]) -> Self {
        let step =
            |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        Self(bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
    }

    /// That of the newest configuration which any VM of this `vm_id` in this process has accepted.
    pub fn newest_accepted() -> Option<Self> {
        let bytes = read_shared_data(ACCEPTED).ok()??;
        bytes.first_chunk().map(|bytes| Self(u64::from_le_bytes(*bytes)))
    }
}

/// What a root context shall do with its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Configured<T> {
    /// Use this one.
    Accepted(T, Fingerprint),
    /// It cannot be read, and there is no older one: deny everything, and let Envoy start.
    DenyAll,
    /// It cannot be read: let Envoy refuse it and keep the one that it has.
    Refused,
}

/// Reads the configuration in `on_configure`.
///
/// Envoy does not start when a filter refuses its first configuration, and configures first in a VM without memory; so
/// whether there is an older one is asked of the process, not of the VM.
pub fn configure<T, E: Display>(
    size: usize,
    read: impl FnOnce(&[u8]) -> Result<T, E>,
) -> Configured<T> {
    let bytes = read_buffer(Buffer::PluginConfiguration, 0, size);
    let fault = match bytes.as_deref().map(read) {
        Ok(Ok(configuration)) => {
            let fingerprint = Fingerprint::of(bytes.as_deref().unwrap_or_default());
            if let Err(error) = write_shared_data(ACCEPTED, &fingerprint.0.to_le_bytes()) {
                log(Level::Error, &format!("cannot note that a policy was accepted: {error}"));
            }
            return Configured::Accepted(configuration, fingerprint);
        }
        Ok(Err(fault)) => fault.to_string(),
        Err(HostError::NotFound) => "there is none".to_owned(),
        Err(error) => error.to_string(),
    };
    if Fingerprint::newest_accepted().is_some() {
        log(Level::Error, &format!("refusing a policy, the last good one stays: {fault}"));
        Configured::Refused
    } else {
        log(Level::Error, &format!("denying everything for want of a policy: {fault}"));
        Configured::DenyAll
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_those_of_fnv() {
        assert_eq!(Fingerprint::of(b""), Fingerprint(0xcbf2_9ce4_8422_2325));
        assert_eq!(Fingerprint::of(b"foobar"), Fingerprint(0x8594_4171_f739_67e8));
    }

    #[test]
    fn without_a_host_everything_is_denied() {
        assert_eq!(configure(2, |_| Ok::<_, HostError>(())), Configured::DenyAll);
    }
}
