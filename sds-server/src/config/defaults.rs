//! What holds where the operator says nothing.

use super::{FileMode, Interval, Limits, Names, Process, Rotation};

pub(super) fn drain() -> Interval {
    Interval::from_seconds(5)
}

pub(super) fn socket_mode() -> FileMode {
    FileMode::OWNER_AND_GROUP
}

impl Default for Names {
    fn default() -> Self {
        Self {
            default_svid: "default".into(),
            default_bundle: "ROOTCA".into(),
            all_bundles: "ALL".into(),
        }
    }
}

impl Default for Rotation {
    fn default() -> Self {
        Self { hold: Interval::from_seconds(10), withdrawal_delay: Interval::from_seconds(1) }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_per_peer: 16,
            connections: 1024,
            opens_per_second: 50,
            opens_burst: 200,
            streams_per_connection: 1024,
            pending_resets: 64,
            own_resets: 64,
            header_bytes: 16 << 10,
            window_bytes: 1 << 20,
            names_per_request: 1024,
            jwt_svids: 64,
            message_bytes: 1 << 20,
            slow_reader: Interval::from_seconds(20),
            keepalive: Interval::from_seconds(30),
            keepalive_timeout: Interval::from_seconds(5),
        }
    }
}

#[expect(clippy::derivable_impls, reason = "the default is a decision, told where the others are")]
impl Default for Process {
    fn default() -> Self {
        Self { dumpable: false }
    }
}
