//! How results are printed: for people, or as JSON for programs.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
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

/// The exit code where the result can't be told.
const UNTOLD: i32 = 2;

/// Writes to standard output. Whoever reads it may leave early (`signet … | head`): what follows is told by the exit
/// code alone. A result that can't be written for another reason is none.
pub(crate) fn print(text: &str) {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            tell(format_args!("error: standard output cannot be written: {error}"));
            std::process::exit(UNTOLD);
        }
        _ => {}
    }
}

/// Writes a line to standard error. Where nobody reads that, there is nobody to tell.
pub(crate) fn tell(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
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
