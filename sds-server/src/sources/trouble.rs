//! Why an agent tells nothing.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::iter::successors;
use std::time::Duration;

use spiffe::{TrustDomain, WorkloadApiError, X509Bundle};
use tonic::{Code, Status};

use crate::config::UnixAddress;

/// How long the agent may take to answer; attestation takes it tens of milliseconds.
const ANSWER: Duration = Duration::from_secs(10);

/// One of the agent's sockets, and what is spoken there.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    pub(super) api: &'static str,
    pub(super) address: UnixAddress,
}

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(
        "waiting for the {} socket {}: it does not exist; is the agent running?",
        endpoint.api,
        endpoint.address.path().display()
    )]
    NoSocket { endpoint: Endpoint },
    #[error("{endpoint} does not answer within {} s", ANSWER.as_secs())]
    Silent { endpoint: Endpoint },
    #[error("{endpoint} issues us no identity: {reason}; is a workload registered?")]
    NoIdentity { endpoint: Endpoint, reason: String },
    #[error("{endpoint} refuses us: {reason}; {hint}")]
    Refused { endpoint: Endpoint, reason: String, hint: &'static str },
    #[error("{endpoint} fails: {reason}")]
    Failed { endpoint: Endpoint, reason: String },
    #[error("{endpoint} cannot be reached: {reason}")]
    Unreached { endpoint: Endpoint, reason: String },
    #[error("{endpoint} closed the stream")]
    Closed { endpoint: Endpoint },
    #[error("the process has ended")]
    ProcessEnded,
}

impl Trouble {
    /// The metric's label.
    pub(super) fn class(&self) -> &'static str {
        match self {
            Self::NoSocket { .. } => "no_socket",
            Self::Silent { .. } => "silent",
            Self::NoIdentity { .. } => "no_identity",
            Self::Refused { .. } => "refused",
            Self::Failed { .. } | Self::Unreached { .. } => "failed",
            Self::Closed { .. } => "closed",
            Self::ProcessEnded => "process_ended",
        }
    }
}

impl Trouble {
    /// Whether nobody gets an answer at `endpoint`.
    pub(super) fn is_of(&self, endpoint: &Endpoint) -> bool {
        match self {
            Self::NoSocket { endpoint: found }
            | Self::Silent { endpoint: found }
            | Self::Refused { endpoint: found, .. }
            | Self::Unreached { endpoint: found, .. } => found.api == endpoint.api,
            Self::NoIdentity { .. }
            | Self::Failed { .. }
            | Self::Closed { .. }
            | Self::ProcessEnded => false,
        }
    }
}

impl Endpoint {
    /// Waits for an answer as long as an agent may take to give one.
    pub(super) async fn answered<T>(
        &self,
        answer: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        if !self.address.path().try_exists().unwrap_or(true) {
            return Err(Trouble::NoSocket { endpoint: self.clone() });
        }
        let silent = |_| Err(Trouble::Silent { endpoint: self.clone() });
        tokio::time::timeout(ANSWER, answer).await.unwrap_or_else(silent)
    }

    /// What the Workload API's error means.
    pub(super) fn workload_api(&self, error: &WorkloadApiError) -> Trouble {
        let (endpoint, reason) = (self.clone(), causes(error));
        match error {
            WorkloadApiError::NoIdentityIssued | WorkloadApiError::PermissionDenied(_) => {
                Trouble::NoIdentity { endpoint, reason }
            }
            _ => Trouble::Failed { endpoint, reason },
        }
    }

    /// What a status means; `hint` tells operators what to do if we are refused.
    pub(super) fn status(&self, status: &Status, hint: &'static str) -> Trouble {
        // What the agent says has nothing behind it.
        if let Some(cause) = status.source() {
            return self.unreached(format!("{}: {}", status.message(), causes(cause)), hint);
        }
        let (endpoint, reason) = (self.clone(), status.message().to_owned());
        if status.code() == Code::PermissionDenied {
            return Trouble::Refused { endpoint, reason, hint };
        }
        Trouble::Failed { endpoint, reason }
    }

    /// What it means that a connection fails.
    pub(super) fn unreached(&self, reason: String, hint: &'static str) -> Trouble {
        let endpoint = self.clone();
        // Who may not be a client at all is told so by TLS.
        if reason.contains("fatal alert") {
            return Trouble::Refused { endpoint, reason, hint };
        }
        Trouble::Unreached { endpoint, reason }
    }

    /// A bundle as agents write it: certificates in DER, one behind the other.
    pub(super) fn bundle(&self, domain: TrustDomain, der: &[u8]) -> Result<X509Bundle, Trouble> {
        X509Bundle::parse_from_der(domain, der).map_err(|error| self.unreadable(&error))
    }

    /// What cannot be read.
    pub(super) fn unreadable(&self, error: &dyn Error) -> Trouble {
        Trouble::Failed { endpoint: self.clone(), reason: causes(error) }
    }
}

/// As logs name it.
impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the {} at {}", self.api, self.address)
    }
}

/// An error with what is behind it; the transport's own says little.
pub(super) fn causes(error: &dyn Error) -> String {
    let behind = successors(error.source(), |&error| error.source());
    behind.fold(error.to_string(), |told, cause| {
        let cause = cause.to_string();
        if told.ends_with(&cause) { told } else { format!("{told}: {cause}") }
    })
}
