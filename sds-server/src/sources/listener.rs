//! Listens to an agent: one stream, opened again whenever it ends.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use spiffe::X509Context;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Report;
use super::reminders::Reminders;
use super::trouble::Trouble;
use crate::metrics::{Metrics, OpenStream};

const FIRST_RETRY: Duration = Duration::from_millis(100);

/// What an agent says on a stream.
#[derive(Debug)]
pub(super) enum Said {
    /// Everything it holds for us.
    Issued(X509Context),
    /// It holds nothing; the stream goes on.
    Nothing,
}

/// What is heard on a stream until it breaks.
pub(super) type Sayings = BoxStream<'static, Result<Said, Trouble>>;

/// Opens streams to an agent.
pub(super) trait Upstream: Send + Sync + 'static {
    /// The longest time between two attempts.
    const LAST_RETRY: Duration;

    /// Opens a stream. It ends when the agent closes it.
    fn open(&self) -> impl Future<Output = Result<Sayings, Trouble>> + Send;

    /// Tells that a stream is open; it is counted for as long as the returned value lives.
    fn opened(&self, metrics: &Metrics) -> OpenStream;

    /// What operators are told where the agent holds nothing.
    fn nothing(&self) -> String;

    /// Why a stream ended that was not broken.
    fn closed(&self) -> Trouble;
}

/// The task that keeps a stream open and reports what it hears.
#[derive(Debug)]
pub struct Listener<U> {
    upstream: U,
    reports: watch::Sender<Report>,
    metrics: Metrics,
    reminders: Arc<Reminders>,
}

#[expect(private_bounds, reason = "the upstreams are those of this folder")]
impl<U: Upstream> Listener<U> {
    /// A listener, and what it will report. Listeners that share `reminders` tell the same trouble
    /// once.
    pub(super) fn to(
        upstream: U,
        metrics: Metrics,
        reminders: Arc<Reminders>,
    ) -> (Self, watch::Receiver<Report>) {
        let (reports, heard) = watch::channel(Report::default());
        (Self { upstream, reports, metrics, reminders }, heard)
    }

    /// Works until `stop`. The first connection retries like every other.
    pub async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(self.keep_listening()).await;
    }

    pub(super) async fn keep_listening(&mut self) {
        let mut retry = FIRST_RETRY;
        loop {
            let (heard_something, trouble) = self.listen().await;
            self.metrics.count_reconnect(trouble.class());
            self.report(&trouble);
            retry = if heard_something { FIRST_RETRY } else { (retry * 2).min(U::LAST_RETRY) };
            // Many that lost the same agent shall not all come back in the same instant.
            tokio::time::sleep(retry.mul_f64(0.5 + 0.5 * fastrand::f64())).await;
        }
    }

    /// Opens the stream and listens until it ends. Returns whether anything was heard, and why it
    /// ended.
    async fn listen(&mut self) -> (bool, Trouble) {
        let mut stream = match self.upstream.open().await {
            Ok(stream) => stream,
            Err(trouble) => return (false, trouble),
        };
        let mut open = None;
        loop {
            match stream.next().await {
                Some(Ok(said)) => {
                    open.get_or_insert_with(|| self.upstream.opened(&self.metrics));
                    self.reports.send_replace(match said {
                        Said::Issued(context) => Report::Issued(Arc::new(context)),
                        Said::Nothing => Report::Withdrawn(self.upstream.nothing()),
                    });
                }
                Some(Err(trouble)) => return (open.is_some(), trouble),
                None => return (open.is_some(), self.upstream.closed()),
            }
        }
    }

    fn report(&self, trouble: &Trouble) {
        let reason = trouble.to_string();
        self.reminders.warn(&reason, "no identities from the source; trying again");
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
