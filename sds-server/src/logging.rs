//! Structured logs on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// Starts logging. `filter` is a level, or directives as in `info,sds_server::xds=debug`.
///
/// # Errors
/// When the filter cannot be read.
pub fn start(format: LogFormat, filter: &str) -> Result<(), String> {
    let directives = EnvFilter::try_new(filter).map_err(|e| {
        format!(
            "log filter `{filter}`: {e}; accepted is a level or a list by module, as in info,h2=off"
        )
    })?;
    // A log file in a watched directory would log its own writing.
    let directives =
        directives.add_directive("notify=off".parse().map_err(|e| format!("log filter: {e}"))?);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(directives)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}
