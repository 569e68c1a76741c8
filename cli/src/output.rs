//! How results are printed: for people, or as JSON for programs.

use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// One JSON value on a line
    Json,
}

/// Writes to standard output. Whoever reads it may leave early (`signet … | head`): that's the end.
pub(crate) fn print(text: &str) {
    if io::stdout().lock().write_all(text.as_bytes()).is_err() {
        std::process::exit(0);
    }
}

/// Writes one JSON value and a newline.
pub(crate) fn print_json(value: &impl Serialize) {
    let json = serde_json::to_string(value).expect("results have string keys only");
    print(&(json + "\n"));
}

/// The exit code 0 or 1.
pub(crate) fn success_if(success: bool) -> ExitCode {
    if success { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
