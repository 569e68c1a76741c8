//! Structured logs on standard error.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// What is logged, while the server runs.
#[derive(Debug, Clone)]
pub struct LogControl {
    filter: Arc<Mutex<String>>,
    handle: Handle<EnvFilter, Registry>,
}

/// Starts logging. `filter` is a level, or directives as in `info,sds_server::xds=debug`.
///
/// # Errors
/// When the filter cannot be read.
pub fn start(format: LogFormat, filter: &str) -> Result<LogControl, String> {
    let (directives, handle) = reload::Layer::new(directives(filter)?);
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal());
    let subscriber = tracing_subscriber::registry().with(directives);
    match format {
        LogFormat::Text => subscriber.with(lines).init(),
        LogFormat::Json => subscriber.with(lines.json().flatten_event(true)).init(),
    }
    Ok(LogControl { filter: Arc::new(Mutex::new(filter.into())), handle })
}

impl LogControl {
    /// What is logged now.
    pub fn filter(&self) -> String {
        self.filter.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Logs by `filter` from now on; returns what held before.
    ///
    /// # Errors
    /// When the filter cannot be read; nothing changes then.
    pub fn change(&self, filter: &str) -> Result<String, String> {
        let directives = directives(filter)?;
        let mut current = self.filter.lock().unwrap_or_else(PoisonError::into_inner);
        self.handle.reload(directives).map_err(|e| format!("log filter: {e}"))?;
        Ok(std::mem::replace(&mut current, filter.into()))
    }
}

fn directives(filter: &str) -> Result<EnvFilter, String> {
    let directives = EnvFilter::try_new(filter).map_err(|e| {
        format!(
            "log filter `{filter}`: {e}; accepted is a level or a list by module, as in info,h2=off"
        )
    })?;
    // A log file in a watched directory would log its own writing.
    Ok(directives.add_directive("notify=off".parse().map_err(|e| format!("log filter: {e}"))?))
}
