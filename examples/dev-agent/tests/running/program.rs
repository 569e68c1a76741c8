//! The program around the API: sockets, modes, stops, refusals, minted files.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::agent::{Agent, serve};

const CLIENT: &str = "--workload=client=/client";

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn sigterm_ends_open_streams_and_leaves_no_socket() {
    let agent = Agent::start(&[CLIENT]);
    let _open = agent.open_stream("client").await;
    let (status, directory) = agent.end("TERM");
    assert!(status.success(), "{status}");
    assert_eq!(directory.path().read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn sockets_of_a_killed_agent_are_replaced() {
    let (_, directory) = Agent::start(&[CLIENT]).end("KILL");
    assert!(directory.path().join("client.sock").exists());
    let agent = Agent::start_in(directory, &[CLIENT]);
    agent.client("client").await.fetch_x509_svid().await.unwrap();
}

#[test]
fn a_second_agent_and_a_foreign_file_are_not_displaced() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("client.sock"), "precious").unwrap();
    let refused = serve(&directory, &[CLIENT]).output().unwrap();
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && errors.contains("it is not a socket"), "{errors}");
    assert_eq!(std::fs::read(directory.path().join("client.sock")).unwrap(), b"precious");

    std::fs::remove_file(directory.path().join("client.sock")).unwrap();
    let agent = Agent::start(&[CLIENT]);
    let directory = agent.socket("client").parent().unwrap().to_owned();
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_dev-agent"))
        .args(["serve", CLIENT, "--directory"])
        .arg(directory)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success() && errors.contains("already listens"), "{errors}");
}

#[test]
fn it_says_that_it_is_for_development_only() {
    let agent = Agent::start(&[CLIENT]);
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_dev-agent")).arg("--help").output();
    assert!(String::from_utf8_lossy(&help.unwrap().stdout).contains("DEVELOPMENT AND TESTS ONLY"));
    let output = agent.into_errors();
    assert!(output.contains("for development and tests only"), "{output}");
}

#[test]
fn sockets_and_minted_files_are_private() {
    let agent = Agent::start(&[CLIENT]);
    assert_eq!(mode(&agent.socket("client")), 0o600);
    let out = tempfile::tempdir().unwrap();
    let out = out.path().join("minted");
    for variant in ["valid", "expired", "two-uri-sans", "other-id", "foreign-ca", "cn-only"] {
        let out = out.to_str().unwrap();
        agent.ctl(&["mint", "--workload", "client", "--variant", variant, "--out", out]);
    }
    assert_eq!(mode(&out), 0o700);
    for (file, begin) in [
        ("svid.pem", "-----BEGIN CERTIFICATE-----"),
        ("svid_key.pem", "-----BEGIN PRIVATE KEY-----"),
        ("svid_bundle.pem", "-----BEGIN CERTIFICATE-----"),
    ] {
        assert_eq!(mode(&out.join(file)), 0o600);
        assert!(std::fs::read_to_string(out.join(file)).unwrap().starts_with(begin), "{file}");
    }
}

#[test]
fn an_identity_of_a_federated_trust_domain_can_be_minted() {
    let agent = Agent::start(&[CLIENT]);
    let out = tempfile::tempdir().unwrap();
    let out = out.path().to_str().unwrap();
    let id = "spiffe://partner.example/client";
    let mint = ["mint", "--workload=client", "--variant=federated", "--other", id, "--out", out];
    let refused = agent.try_ctl(&mint);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is not federated"));
    agent.ctl(&["federate", "--trust-domain", "partner.example"]);
    assert_eq!(agent.ctl(&mint)["written"], out);
}

#[test]
fn what_cannot_be_done_is_refused_with_what_can() {
    let agent = Agent::start(&[CLIENT, "--workload=api=/api"]);
    for (command, expected) in [
        (["rotate", "--workload", "nobody"], "unknown workload \"nobody\", accepted: api, client"),
        (["federate", "--trust-domain", "example.org"], "only foreign ones can be federated"),
        (
            ["unfederate", "--trust-domain", "partner.example"],
            "\"partner.example\" is not federated",
        ),
    ] {
        let output = agent.try_ctl(&command);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains(expected), "{command:?}: {errors}");
    }
}
