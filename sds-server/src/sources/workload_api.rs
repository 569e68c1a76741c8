//! The SPIFFE Workload API as a source: one stream, opened again whenever it ends.

use std::error::Error;
use std::iter::successors;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use spiffe::{WorkloadApiClient, WorkloadApiError};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Report;
use crate::config::UnixAddress;
use crate::metrics::Metrics;

/// How long the agent may take to answer; attestation takes it tens of milliseconds.
const ANSWER: Duration = Duration::from_secs(10);
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(2);
/// The same trouble is logged again after this time.
const REMINDER: Duration = Duration::from_secs(30);

/// The task that keeps the stream open and writes what it hears.
#[derive(Debug)]
pub struct WorkloadApiSource {
    socket: UnixAddress,
    reports: watch::Sender<Report>,
    metrics: Metrics,
    logged: Option<(String, Instant)>,
}

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("waiting for the Workload API socket {path}: it does not exist; is the agent running?")]
    NoSocket { path: String },
    #[error("the Workload API at {socket} does not answer within {} s", ANSWER.as_secs())]
    Silent { socket: String },
    #[error(
        "the Workload API at {socket} issues us no identity: {source}; is a workload registered?"
    )]
    NoIdentity { socket: String, source: WorkloadApiError },
    #[error("the Workload API at {socket} fails: {}", causes(source))]
    Failed { socket: String, source: WorkloadApiError },
    #[error("the Workload API at {socket} closed the stream")]
    Closed { socket: String },
}

impl Trouble {
    /// The metric's label.
    fn class(&self) -> &'static str {
        match self {
            Self::NoSocket { .. } => "no_socket",
            Self::Silent { .. } => "silent",
            Self::NoIdentity { .. } => "no_identity",
            Self::Failed { .. } => "failed",
            Self::Closed { .. } => "closed",
        }
    }
}

impl WorkloadApiSource {
    /// A source at `socket`, and what it will report.
    pub fn new(socket: UnixAddress, metrics: Metrics) -> (Self, watch::Receiver<Report>) {
        let (reports, heard) = watch::channel(Report::default());
        (Self { socket, reports, metrics, logged: None }, heard)
    }

    /// Works until `stop`. The first connection retries like every other.
    pub async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(self.keep_listening()).await;
    }

    async fn keep_listening(&mut self) {
        let mut retry = FIRST_RETRY;
        loop {
            let (heard_something, trouble) = self.listen().await;
            self.metrics.show_source_connected(false);
            self.metrics.count_reconnect(trouble.class());
            self.report(&trouble);
            retry = if heard_something { FIRST_RETRY } else { (retry * 2).min(LAST_RETRY) };
            tokio::time::sleep(retry).await;
        }
    }

    /// Opens the stream and listens until it ends. Returns whether anything was issued, and why it
    /// ended.
    async fn listen(&mut self) -> (bool, Trouble) {
        let socket = self.socket.to_string();
        if !exists(self.socket.path()) {
            return (false, Trouble::NoSocket { path: self.socket.path().display().to_string() });
        }
        let failure = |source: WorkloadApiError| match source {
            WorkloadApiError::NoIdentityIssued | WorkloadApiError::PermissionDenied(_) => {
                Trouble::NoIdentity { socket: socket.clone(), source }
            }
            source => Trouble::Failed { socket: socket.clone(), source },
        };
        let opening =
            async { WorkloadApiClient::connect_to(&socket).await?.stream_x509_contexts().await };
        let mut stream = match timeout(ANSWER, opening).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return (false, failure(error)),
            Err(_) => return (false, Trouble::Silent { socket }),
        };
        let mut heard_something = false;
        loop {
            match stream.next().await {
                Some(Ok(context)) => {
                    if !std::mem::replace(&mut heard_something, true) {
                        info!(%socket, "connected to the Workload API");
                        self.logged = None;
                        self.metrics.show_source_connected(true);
                    }
                    self.reports.send_replace(Report::Issued(Arc::new(context)));
                }
                Some(Err(error)) => return (heard_something, failure(error)),
                None => return (heard_something, Trouble::Closed { socket }),
            }
        }
    }

    fn report(&mut self, trouble: &Trouble) {
        let reason = trouble.to_string();
        let due = self
            .logged
            .as_ref()
            .is_none_or(|(last, at)| *last != reason || at.elapsed() >= REMINDER);
        if due {
            warn!(reason, "no identities from the source; trying again");
            self.logged = Some((reason.clone(), Instant::now()));
        }
        self.reports.send_if_modified(|report| {
            let next = match (&trouble, &*report) {
                (Trouble::NoIdentity { .. }, _) => Report::Withdrawn(reason),
                (_, Report::Starting | Report::Waiting(_)) => Report::Waiting(reason),
                // What was withdrawn stays so until the source is heard again.
                (_, Report::Withdrawn(_)) => return false,
                _ => Report::Lost(reason),
            };
            *report = next;
            true
        });
    }
}

/// An error with what is behind it; the transport's own says little.
fn causes(error: &dyn Error) -> String {
    let behind = successors(error.source(), |&error| error.source());
    behind.fold(error.to_string(), |told, cause| {
        let cause = cause.to_string();
        if told.ends_with(&cause) { told } else { format!("{told}: {cause}") }
    })
}

fn exists(socket: &Path) -> bool {
    socket.try_exists().unwrap_or(true)
}
