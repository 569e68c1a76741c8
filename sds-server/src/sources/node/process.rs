//! One process as a source: its identities, from the agent, by its number.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use spiffe::JwtSvid;
use tracing::debug;

use super::Agent;
use super::attestations::Attestations;
use super::pin::Pin;
use super::reach::Reach;
use crate::metrics::{Metrics, OpenStream};
use crate::sources::jwt::{JwtIssuer, JwtRequest, Token};
use crate::sources::listener::{Sayings, Upstream};
use crate::sources::trouble::{Trouble, causes};

/// A process that the agent is asked about.
#[derive(Debug, Clone)]
pub(super) struct Process {
    pub(super) agent: Arc<Agent>,
    pub(super) attestations: Arc<Attestations>,
    pub(super) reach: Arc<Reach>,
    pub(super) pin: Arc<Pin>,
}

impl Upstream for Process {
    const LAST_RETRY: Duration = Duration::from_secs(5);

    async fn open(&self) -> Result<Sayings, Trouble> {
        // The agent attests until its first answer.
        let place = self.attestations.enter().await;
        self.confirm()?;
        let attesting = async {
            let mut sayings = self.agent.subscribe(self.pin.pid()).await?;
            let first = sayings.next().await.ok_or_else(|| self.closed())??;
            Ok((first, sayings))
        };
        let endpoint = self.agent.endpoint();
        let attested = endpoint.answered(attesting).await;
        self.reach.note(endpoint, &attested);
        let (first, sayings) = attested?;
        drop(place);
        // It was alive before and it is now: the agent attested no other that has its number.
        self.confirm()?;
        Ok(stream::iter([Ok(first)]).chain(sayings).boxed())
    }

    fn opened(&self, metrics: &Metrics) -> OpenStream {
        debug!(process = %self.pin, "attested");
        metrics.open_upstream()
    }

    fn nothing(&self) -> String {
        format!(
            "{} issues no identity to the process with {}; is a workload registered with its selectors?",
            self.agent.endpoint(),
            self.pin
        )
    }

    fn closed(&self) -> Trouble {
        Trouble::Closed { endpoint: self.agent.endpoint().clone() }
    }
}

impl JwtIssuer for Process {
    async fn fetch(&self, request: &JwtRequest) -> Result<JwtSvid, String> {
        let tokens = self.tokens(request).await.map_err(|trouble| trouble.to_string())?;
        // The agent may answer with those of all the process' identities.
        let mut answers = tokens.iter().map(|token| {
            let svid = JwtSvid::parse_insecure(token).map_err(|error| causes(&error))?;
            request.confirm(svid)
        });
        let nothing = || Err(format!("{} answers with no JWT-SVID", self.agent.endpoint()));
        let first = answers.next().unwrap_or_else(nothing);
        first.or_else(|reason| answers.find_map(Result::ok).ok_or(reason))
    }
}

impl Process {
    /// Asking takes a place in the queue too: the agent attests for each question.
    async fn tokens(&self, request: &JwtRequest) -> Result<Vec<Token>, Trouble> {
        let _place = self.attestations.enter().await;
        self.confirm()?;
        let asking = self.agent.jwt_svids(self.pin.pid(), request);
        let tokens = self.agent.endpoint().answered(asking).await?;
        self.confirm()?;
        Ok(tokens)
    }

    fn confirm(&self) -> Result<(), Trouble> {
        if self.pin.is_alive() { Ok(()) } else { Err(Trouble::ProcessEnded) }
    }
}
