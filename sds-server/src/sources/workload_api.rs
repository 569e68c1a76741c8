//! The SPIFFE Workload API as a source: the server's own identities.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryFutureExt, TryStreamExt};
use spiffe::WorkloadApiClient;
use tokio::sync::watch;
use tracing::info;

use super::Report;
use super::listener::{Listener, Said, Sayings, Upstream};
use super::trouble::{Endpoint, Trouble};
use crate::config::UnixAddress;
use crate::metrics::{Metrics, OpenStream};

/// The task that keeps the stream open and reports what it hears.
pub type WorkloadApiSource = Listener<WorkloadApi>;

/// A Workload API.
#[derive(Debug)]
pub struct WorkloadApi {
    endpoint: Endpoint,
}

impl WorkloadApiSource {
    /// A source at `socket`, and what it will report.
    pub fn new(socket: UnixAddress, metrics: Metrics) -> (Self, watch::Receiver<Report>) {
        let endpoint = Endpoint { api: "Workload API", address: socket };
        Self::to(WorkloadApi { endpoint }, metrics, Arc::default())
    }
}

impl Upstream for WorkloadApi {
    const LAST_RETRY: Duration = Duration::from_secs(2);

    async fn open(&self) -> Result<Sayings, Trouble> {
        let opening = async {
            let client = WorkloadApiClient::connect_to(self.endpoint.address.to_string()).await?;
            client.stream_x509_contexts().await
        };
        let endpoint = self.endpoint.clone();
        let opening = opening.map_err(|error| self.endpoint.workload_api(&error));
        let stream = self.endpoint.answered(opening).await?;
        let stream = stream.map_ok(Said::Issued);
        Ok(stream.map_err(move |error| endpoint.workload_api(&error)).boxed())
    }

    fn opened(&self, metrics: &Metrics) -> OpenStream {
        info!(socket = %self.endpoint.address, "connected to the Workload API");
        metrics.open_workload_api()
    }

    fn nothing(&self) -> String {
        format!("{} issues us no identity; is a workload registered?", self.endpoint)
    }

    fn closed(&self) -> Trouble {
        Trouble::Closed { endpoint: self.endpoint.clone() }
    }
}
