//! Standard input, output and error: whoever leaves early, and whatever is full, changes no exit code to a better one.

mod command;

use std::fs::OpenOptions;
use std::process::{Command, Stdio};

use command::signet;

const POLICY: &str = "\
version: 1
trust_domain: example.org
workloads: { client: /client, api: /api }
http:
  - { name: reads, from: [client], to: [api], methods: [GET] }
tests:
  - { from: client, to: api, request: GET /, expect: deny }
";

const FAULTY: &str = "version: 2\n";

const DENIED: [&str; 7] =
    ["decide", "policy.yaml", "--from=client", "--to=api", "--request=POST /", "-o", "json"];
const ALLOWED: [&str; 5] =
    ["decide", "policy.yaml", "--from=client", "--to=api", "--request=GET /"];

/// A stream that nobody reads any longer.
fn nobody() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// A file on a disk without room.
fn full() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

/// The exit code of `signet policy`, and what it tells where its standard error is read.
fn run(arguments: &[&str], out: Stdio, err: Stdio) -> (Option<i32>, String) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("policy.yaml"), POLICY).unwrap();
    std::fs::write(directory.path().join("faulty.yaml"), FAULTY).unwrap();
    let filters = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/wasm32-unknown-unknown/filters");
    let mut command = Command::new(env!("CARGO_BIN_EXE_signet"));
    command.arg("policy").args(arguments).current_dir(directory.path());
    command.env("SIGNET_WASM_DIR", filters).stdin(Stdio::null()).stdout(out).stderr(err);
    let output = command.spawn().unwrap().wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn who_leaves_early_is_told_by_the_exit_code() {
    for (arguments, code) in [
        (&ALLOWED[..], 0),
        (&DENIED, 1),
        (&["explain", "policy.yaml", "--from=client", "--to=api", "--request=POST /"], 1),
        (&["check", "policy.yaml"], 0),
        (&["check", "faulty.yaml", "-o", "json"], 1),
        (&["test", "policy.yaml"], 1),
        (&["diff", "policy.yaml", "policy.yaml"], 0),
    ] {
        assert_eq!(run(arguments, nobody(), Stdio::piped()), (Some(code), String::new()));
    }
}

/// Not 0, which may mean an allow, and not 1, which may mean a deny.
#[test]
fn a_result_that_cannot_be_written_is_none() {
    for arguments in [&ALLOWED[..], &DENIED, &["check", "policy.yaml"], &["schema"]] {
        let told =
            "error: standard output cannot be written: No space left on device (os error 28)\n";
        assert_eq!(run(arguments, full(), Stdio::piped()), (Some(2), told.to_owned()));
    }
}

#[test]
fn faults_that_nobody_reads_are_faults() {
    for err in [nobody, full] {
        assert_eq!(run(&["check", "faulty.yaml"], Stdio::null(), err()).0, Some(1));
        assert_eq!(run(&["decide", "nowhere", "--batch=-"], Stdio::null(), err()).0, Some(2));
    }
}

/// Else the second would be empty: no cases, and so no case that fails.
#[test]
fn standard_input_is_one_file() {
    for (arguments, code) in [
        (&["test", "-", "-"][..], 1),
        (&["decide", "-", "--batch", "-"], 2),
        (&["diff", "-", "-"], 2),
    ] {
        let run = signet(&[&["policy"], arguments].concat(), POLICY);
        let told =
            "standard input cannot be read: another `-` was read from it; one file can be `-`";
        assert_eq!(run.code, code, "{run:?}");
        assert!((run.err + &run.out).contains(told), "{arguments:?}");
    }
}
