//! A plugin's configuration, and what to do with one that cannot be read.

use std::fmt::Display;

use sha2::{Digest, Sha256};

use crate::{
    Buffer, HostError, Level, log, read_buffer, read_shared_data, read_versioned_shared_data,
    record_gauge, replace_shared_data,
};

/// The fingerprint of the newest configuration that this process has accepted, then its generation, for all VMs of the
/// same `vm_id`.
const ACCEPTED: &str = "signet.accepted";

/// Tells configurations apart: the first 8 bytes of the SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 8]);

impl Fingerprint {
    fn of(bytes: &[u8]) -> Self {
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        Self(digest.first_chunk().copied().unwrap_or_default())
    }

    /// That of the newest configuration which any VM of this `vm_id` in this process has accepted.
    pub fn newest_accepted() -> Option<Self> {
        let bytes = read_shared_data(ACCEPTED).ok()??;
        bytes.first_chunk().copied().map(Self)
    }

    /// The first 6 bytes of the SHA-256 as a number: what a metric can hold without loss.
    fn metric(self) -> u64 {
        u64::from_be_bytes(self.0) >> 16
    }

    /// Notes for all VMs that this is the newest accepted one: how many different ones there have been in a row.
    fn accept(self) -> Result<u64, HostError> {
        loop {
            let known = read_versioned_shared_data(ACCEPTED)?;
            let (value, version) = known.unwrap_or_default();
            let last = value.last_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
            if value.starts_with(&self.0) {
                return Ok(last);
            }
            let generation = last.saturating_add(1);
            let value = [self.0, generation.to_le_bytes()].concat();
            match replace_shared_data(ACCEPTED, &value, version) {
                // Another worker was faster, most likely with the same one.
                Err(HostError::CasMismatch) => {}
                result => return result.map(|()| generation),
            }
        }
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
///
/// Gauges tell what is in force: `NAME_policy_generation`, `NAME_slice_digest` (the first 6 bytes of the configuration's
/// SHA-256) and `NAME_deny_all`.
pub fn configure<T, E: Display>(
    name: &str,
    size: usize,
    read: impl FnOnce(&[u8]) -> Result<T, E>,
) -> Configured<T> {
    let bytes = read_buffer(Buffer::PluginConfiguration, 0, size);
    let fault = match bytes.as_deref().map(read) {
        Ok(Ok(configuration)) => {
            let fingerprint = Fingerprint::of(bytes.as_deref().unwrap_or_default());
            match fingerprint.accept() {
                Ok(generation) => record_gauge(&format!("{name}_policy_generation"), generation),
                Err(error) => {
                    log(Level::Error, &format!("cannot note that a policy was accepted: {error}"));
                }
            }
            record_gauge(&format!("{name}_slice_digest"), fingerprint.metric());
            record_gauge(&format!("{name}_deny_all"), 0);
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
        record_gauge(&format!("{name}_deny_all"), 1);
        log(Level::Error, &format!("denying everything for want of a policy: {fault}"));
        Configured::DenyAll
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_the_start_of_the_sha_256() {
        let fingerprint = Fingerprint::of(b"abc");
        assert_eq!(fingerprint, Fingerprint([0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea]));
        assert_eq!(fingerprint.metric(), 0xba78_16bf_8f01);
    }

    #[test]
    fn without_a_host_everything_is_denied() {
        assert_eq!(configure("signet_any", 2, |_| Ok::<_, HostError>(())), Configured::DenyAll);
    }
}
