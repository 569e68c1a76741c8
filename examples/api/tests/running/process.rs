//! The process around the API: addresses, sockets, stops.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::api::Api;

#[test]
fn an_address_that_others_reach_is_refused_at_the_start() {
    for (option, expected) in [
        ("--listen=0.0.0.0:0", "0.0.0.0:0 can be reached past the sidecar"),
        ("--database=host=10.0.0.1 user=api", "is not the sidecar"),
        ("--role=none", "\"none\" is no role"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_example-api")).arg(option).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains(expected), "{option}: {errors}");
    }
}

#[test]
fn sigterm_ends_it_and_removes_the_socket() {
    let directory = tempfile::tempdir().unwrap();
    let mut api = Api::start(directory.path(), &[]);
    assert_eq!(api.socket().metadata().unwrap().permissions().mode() & 0o777, 0o660);
    let pid = api.child.id().to_string();
    assert!(Command::new("kill").arg(&pid).status().unwrap().success());
    assert!(api.child.wait().unwrap().success());
    assert!(!api.socket().exists());
}
