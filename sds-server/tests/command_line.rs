//! What operators type and what they are told.

use std::process::{Command, Output, Stdio};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sds-server"))
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn check(config: &str) -> (Option<i32>, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("config.yaml");
    std::fs::write(&file, config.replace("$DIRECTORY", &directory.path().display().to_string()))
        .expect("written");
    std::fs::write(directory.path().join("bad.yaml"), "version: 1\nhttp: [{}]\n").expect("written");
    std::fs::write(directory.path().join("filter.wasm"), "abc").expect("written");
    let output = run(&["check", &file.display().to_string()]);
    (
        output.status.code(),
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
    )
}

const GOOD: &str = "source: { workload_api: { socket: unix:///agent.sock } }\nlisten: { path: $DIRECTORY/sds.sock }\n";

#[test]
fn check_says_that_a_configuration_is_good() {
    let (code, told) = check(GOOD);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("good") && told.contains("live") && told.contains("listen.tcp.allow"));
}

#[test]
fn check_names_an_unknown_key_and_what_is_accepted() {
    let (code, told) = check(&format!("{GOOD}lisen: {{}}\n"));
    assert_eq!(code, Some(1));
    assert!(
        told.contains("unknown field `lisen`")
            && told.contains("listen")
            && told.contains("line 3"),
        "{told}"
    );
}

#[test]
fn check_finds_the_faults_of_the_policy_and_of_the_code() {
    let filter = format!("{{ wasm: $DIRECTORY/filter.wasm, sha256: {} }}", "00".repeat(32));
    let (code, told) = check(&format!(
        "{GOOD}policy: {{ file: $DIRECTORY/bad.yaml }}\nfilters: {{ http: {filter} }}\n"
    ));
    assert_eq!(code, Some(1));
    assert!(told.contains("bad.yaml:") && told.contains("has sha256 ba7816bf"), "{told}");
}

#[test]
fn check_tells_what_it_cannot_see_from_here() {
    let filter = format!("{{ wasm: $DIRECTORY/elsewhere.wasm, sha256: {} }}", "00".repeat(32));
    let policy = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/policies/grpc.yaml");
    let (code, told) =
        check(&format!("{GOOD}policy: {{ file: {policy} }}\nfilters: {{ http: {filter} }}\n"));
    assert_eq!(code, Some(0), "it may lie in Envoy's file system only: {told}");
    assert!(told.contains("good") && told.contains("its sha256 is not checked"), "{told}");
}

#[test]
fn whoever_reads_the_schema_may_leave_early() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_sds-server"))
        .arg("schema")
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .and_then(std::process::Child::wait_with_output)
        .expect("the program starts");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn the_server_refuses_a_file_that_is_not_there_and_a_socket_that_is_none() {
    let output = run(&["--config", "/nonexistent.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nonexistent.yaml"));

    let directory = tempfile::tempdir().expect("a directory");
    let (file, occupied) =
        (directory.path().join("config.yaml"), directory.path().join("precious"));
    std::fs::write(&occupied, "precious").expect("written");
    let config = GOOD.replace("$DIRECTORY/sds.sock", &occupied.display().to_string());
    std::fs::write(&file, config).expect("written");
    let output = run(&["--config", &file.display().to_string()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("a file is there"));
    assert_eq!(std::fs::read_to_string(&occupied).expect("still there"), "precious");
}

#[test]
fn help_teaches_the_configuration() {
    let output = run(&["--help"]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    for part in ["workload_api", "ROOTCA", "signet.postgres", "/readyz", "Exit codes"] {
        assert!(told.contains(part), "`{part}` is missing");
    }
    assert_eq!(run(&[]).status.code(), Some(2), "a configuration is required");
}
