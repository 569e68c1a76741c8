//! The control socket: performs one command per line.

use std::sync::Arc;
use std::time::Duration;

use spiffe::{SpiffeId, TrustDomain};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use crate::agent::{Agent, Refusal};
use crate::authority::Rollover;
use crate::command::{CaStep, Command, Reply, Status, SvidStatus, WorkloadStatus};
use crate::svid::X509Svid;
use crate::view::Identity;

/// Answers on the control socket until `stop`.
pub(crate) async fn serve(listener: UnixListener, agent: Arc<Agent>, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (agent, stop) = (Arc::clone(&agent), stop.clone());
                tokio::spawn(
                    async move { stop.run_until_cancelled(converse(stream, &agent)).await },
                );
            }
            Err(error) => tracing::warn!(%error, "a control connection could not be accepted"),
        }
    }
}

async fn converse(mut stream: UnixStream, agent: &Agent) -> std::io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        tracing::info!(%line, "control");
        let reply = match serde_json::from_str(&line) {
            Ok(command) => perform(agent, command)
                .unwrap_or_else(|refusal| Reply::Refused(refusal.to_string())),
            Err(error) => Reply::Refused(format!("the command is not understood: {error}")),
        };
        let mut answer = serde_json::to_vec(&reply)?;
        answer.push(b'\n');
        writer.write_all(&answer).await?;
    }
    Ok(())
}

fn perform(agent: &Agent, command: Command) -> Result<Reply, Refusal> {
    match command {
        Command::Status => {}
        Command::Rotate { workload } => agent.rotate(workload.as_deref())?,
        Command::Expire { workload, seconds } => {
            agent.expire(workload.as_deref(), Duration::from_secs(seconds))?;
        }
        Command::Forge { workload, variant, other } => {
            agent.forge(&workload, variant, other.as_deref())?;
        }
        Command::Mint { workload, variant, other, ttl, out: _ } => {
            let svid =
                agent.mint(&workload, variant, other.as_deref(), ttl.map(Duration::from_secs))?;
            return Ok(Reply::Minted {
                chain: svid.chain_pem(),
                key: svid.key_pem(),
                bundle: agent.bundle_pem(),
            });
        }
        Command::Revoke { workload } => agent.revoke(&workload)?,
        Command::Grant { workload } => agent.grant(&workload)?,
        Command::Hang => agent.hang(),
        Command::Drop { stay_away } => agent.drop_connections(stay_away),
        Command::Resume => agent.resume(),
        Command::Federate { trust_domain } => agent.federate(&foreign(&trust_domain)?)?,
        Command::Unfederate { trust_domain } => agent.unfederate(&foreign(&trust_domain)?)?,
        Command::Ca { step: CaStep::Prepare } => agent.roll_over(Rollover::prepare)?,
        Command::Ca { step: CaStep::Activate } => agent.roll_over(Rollover::activate)?,
        Command::Ca { step: CaStep::Retire } => agent.roll_over(Rollover::retire)?,
    }
    Ok(Reply::Done(status(agent)))
}

fn foreign(name: &str) -> Result<TrustDomain, Refusal> {
    TrustDomain::new(name).map_err(|_| Refusal::TrustDomain(name.to_owned()))
}

fn status(agent: &Agent) -> Status {
    let conduct = *agent.conduct().borrow();
    let workloads = agent.workloads().map(|(name, view, subscribers)| {
        let svids = match &view.identity {
            Identity::Issued(svids) => svids.iter().map(svid_status).collect(),
            Identity::Withdrawn => Vec::new(),
        };
        (name.to_owned(), WorkloadStatus { subscribers, svids })
    });
    Status {
        answering: conduct.answering,
        listening: conduct.listening,
        workloads: workloads.collect(),
    }
}

fn svid_status((id, svid): &(SpiffeId, Arc<X509Svid>)) -> SvidStatus {
    let (serial, not_after) = svid.serial_and_end();
    SvidStatus { spiffe_id: id.to_string(), serial, not_after }
}
