//! The one task that reads the source and writes what may be served.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::finding::Finding;
use super::{Custody, Identities, Moment, Report, SvidSnapshot};
use crate::metrics::{Metrics, ShownIdentities};

/// Clocks may be turned while we sleep: expiry is looked at this often at least.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// Reads a source's reports, keeps a [`Custody`], and publishes [`Identities`] when they differ.
#[derive(Debug)]
pub struct Custodian {
    custody: Custody,
    reports: watch::Receiver<Report>,
    identities: watch::Sender<Identities>,
    metrics: Metrics,
    shown: ShownIdentities,
}

impl Custodian {
    /// A custodian of what `reports` tells, and the state that it will publish.
    pub fn new(
        custody: Custody,
        reports: watch::Receiver<Report>,
        metrics: Metrics,
    ) -> (Self, watch::Receiver<Identities>) {
        let (identities, published) = watch::channel(Identities::default());
        let shown = metrics.show_identities();
        (Self { custody, reports, identities, metrics, shown }, published)
    }

    /// Works until `stop`, or as long as there is a source.
    pub async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(self.keep_publishing()).await;
    }

    /// Works as long as there is a source.
    pub(super) async fn keep_publishing(&mut self) {
        self.reports.mark_changed();
        loop {
            let now = Moment::now();
            let latest = now.steady + LONGEST_SLEEP;
            let wake: Instant = self.custody.next_review(now).map_or(latest, |due| due.min(latest));
            tokio::select! {
                changed = self.reports.changed() => match changed {
                    Ok(()) => self.take_report(),
                    Err(_) => return,
                },
                () = sleep_until(wake) => {}
            }
            self.review();
        }
    }

    fn take_report(&mut self) {
        let report = self.reports.borrow_and_update().clone();
        let findings = match report {
            Report::Issued(context) => self.custody.offer(&context, Moment::now()),
            Report::Withdrawn(_) => {
                self.custody.withdraw();
                Vec::new()
            }
            Report::Starting | Report::Waiting(_) | Report::Lost(_) => Vec::new(),
        };
        self.tell(&findings);
    }

    fn review(&mut self) {
        let now = Moment::now();
        let findings = self.custody.review(now);
        self.tell(&findings);
        let report = self.reports.borrow().clone();
        let withdrawn = matches!(report, Report::Withdrawn(_));
        let trouble = match report {
            Report::Starting => Some("the source has not been asked yet".to_owned()),
            Report::Waiting(reason) | Report::Withdrawn(reason) | Report::Lost(reason) => {
                Some(reason)
            }
            Report::Issued(_) => self.custody.trouble(now),
        };
        let snapshot = self.custody.snapshot();
        self.identities.send_if_modified(|published| {
            let same = published.snapshot.same_as(&snapshot);
            if same && published.trouble == trouble && published.withdrawn == withdrawn {
                return false;
            }
            if !same {
                self.shown.show(&snapshot);
                published.snapshot = Arc::<SvidSnapshot>::new(snapshot);
            }
            published.trouble = trouble;
            published.withdrawn = withdrawn;
            true
        });
    }

    fn tell(&self, findings: &[Finding]) {
        for finding in findings {
            finding.tell(&self.metrics);
        }
    }
}
