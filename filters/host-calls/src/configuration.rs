//! A plugin's configuration, and what to do with one that cannot be read.

use std::fmt::Display;

use crate::{Buffer, HostError, Level, log, read_buffer, read_shared_data, write_shared_data};

/// Written once this process has accepted a configuration, for all VMs of the same `vm_id`.
const ACCEPTED: &str = "signet.accepted";

/// What a root context shall do with its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Configured<T> {
    /// Use this one.
    Accepted(T),
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
    let fault = match read_buffer(Buffer::PluginConfiguration, 0, size).map(|bytes| read(&bytes)) {
        Ok(Ok(configuration)) => {
            if let Err(error) = write_shared_data(ACCEPTED, b"1") {
                log(Level::Error, &format!("cannot note that a policy was accepted: {error}"));
            }
            return Configured::Accepted(configuration);
        }
        Ok(Err(fault)) => fault.to_string(),
        Err(HostError::NotFound) => "there is none".to_owned(),
        Err(error) => error.to_string(),
    };
    if matches!(read_shared_data(ACCEPTED), Ok(Some(_))) {
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
    fn without_a_host_everything_is_denied() {
        assert_eq!(configure(2, |_| Ok::<_, HostError>(())), Configured::DenyAll);
    }
}
