//! The one task that reads the source and writes what may be served.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::custody::Finding;
use super::{Custody, Identities, Moment, Report, SvidSnapshot};
use crate::metrics::Metrics;

/// Clocks may be turned while we sleep: expiry is looked at this often at least.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// Reads a source's reports, keeps a [`Custody`], and publishes [`Identities`] when they differ.
#[derive(Debug)]
pub struct Custodian {
    custody: Custody,
    reports: watch::Receiver<Report>,
    identities: watch::Sender<Identities>,
    metrics: Metrics,
}

impl Custodian {
    /// A custodian of what `reports` tells, and the state that it will publish.
    pub fn new(
        custody: Custody,
        reports: watch::Receiver<Report>,
        metrics: Metrics,
    ) -> (Self, watch::Receiver<Identities>) {
        let (identities, published) = watch::channel(Identities::default());
        (Self { custody, reports, identities, metrics }, published)
    }

    /// Works until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        self.reports.mark_changed();
        loop {
            let now = Moment::now();
            let latest = now.steady + LONGEST_SLEEP;
            let wake: Instant = self.custody.next_review(now).map_or(latest, |due| due.min(latest));
            tokio::select! {
                () = stop.cancelled() => return,
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
        let trouble = match &*self.reports.borrow() {
            Report::Starting => Some("the source has not been asked yet".to_owned()),
            Report::Waiting(reason) | Report::Withdrawn(reason) | Report::Lost(reason) => {
                Some(reason.clone())
            }
            Report::Issued(_) => self.custody.missing_default(now),
        };
        let snapshot = self.custody.snapshot();
        self.identities.send_if_modified(|published| {
            let same = published.snapshot.same_as(&snapshot);
            if same && published.trouble == trouble {
                return false;
            }
            if !same {
                self.metrics.show_identities(&snapshot);
                published.snapshot = Arc::<SvidSnapshot>::new(snapshot);
            }
            published.trouble = trouble;
            true
        });
    }

    fn tell(&self, findings: &[Finding]) {
        for finding in findings {
            match finding {
                Finding::Served { id, serial, expires } => {
                    self.metrics.count_svid_update("served");
                    info!(spiffe_id = %id, serial, expires, "serving a new SVID");
                }
                Finding::Held { id, serial, wait } => {
                    self.metrics.count_svid_update("held");
                    info!(spiffe_id = %id, serial, wait_ms = wait.as_millis(), "holding back a new SVID until its authority is known to the peers");
                }
                Finding::Refused { id, fault } => {
                    self.metrics.count_svid_update("refused");
                    error!(spiffe_id = %id, reason = %fault, "refusing an SVID; the one before is served while it is valid");
                }
                Finding::UnknownIssuer { id, serial } => {
                    warn!(spiffe_id = %id, serial, "no authority of the bundle is found to have issued this SVID; peers may refuse it");
                }
                Finding::Expired { id } => {
                    self.metrics.count_svid_update("expired");
                    error!(spiffe_id = %id, "an SVID expired and nothing newer came");
                }
                Finding::Withdrawn { id } => {
                    self.metrics.count_svid_update("withdrawn");
                    warn!(spiffe_id = %id, "the source no longer names this identity; Envoys keep the certificate until it expires");
                }
                Finding::Bundle { domain, authorities } => {
                    info!(trust_domain = %domain, authorities, "serving a new bundle");
                }
            }
        }
    }
}
