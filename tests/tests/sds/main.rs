//! SDS with real Envoys: two of them, with mutual TLS between, whose secrets come from sds-server.
//!
//! The environment variable `SIGNET_SOAK` makes the long ones long; else each shows in seconds what it is
//! about.

#[allow(dead_code, reason = "each test program uses a part")]
#[path = "../../../sds-server/tests/support/aim.rs"]
mod aim;
mod faults;
mod federation;
mod ground;
mod intermediate;
mod many;
mod on_demand;
mod refused;
mod rollover;
mod transports;
mod withdrawn;

/// One number in the test command, another under `SIGNET_SOAK=1`.
fn soak<T>(short: T, long: T) -> T {
    if std::env::var_os("SIGNET_SOAK").is_some() { long } else { short }
}
