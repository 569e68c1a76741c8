//! The API's ingress alone: a real Envoy with the repository's bootstrap, its filter and policy from a real sds-server, and
//! an echo server where the API would be.

use std::{net::SocketAddr, path::Path};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::{
    Answer, Http1, Http2, Lines,
    echo::Echo,
    relay::{Relay, Tampering},
};
use crate::{
    Bootstrap, Envoy, FetchedSvid, IdentitySource, PATIENCE, PolicyFile, SdsServer, SourceKind,
    Stage, TRUST_DOMAIN, Workload, bootstrap::holders, site::Ops, tls::TlsCaller, until,
};

/// The trust domain besides ours whose callers this ingress lets as far as the filter.
const FEDERATED: &str = "other.example";

/// The ingress and what it needs, running.
#[derive(Debug)]
pub struct Ingress {
    /// The Envoy.
    pub envoy: Envoy,
    /// Where its secrets and its policy come from.
    pub server: SdsServer,
    _relay: Option<Relay>,
    _echo: Echo,
    source: IdentitySource,
    policy: PolicyFile,
    address: SocketAddr,
    stage: Stage,
}

/// A protocol that a caller speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    H1,
    /// HTTP/2.
    H2,
}

/// A caller's connection, opened anew whenever Envoy has closed it.
#[derive(Debug)]
pub struct Caller {
    tls: TlsCaller,
    address: SocketAddr,
    protocol: Protocol,
    connection: Option<Connection>,
    /// What only the policy allows that was last seen.
    seen: Option<Lines>,
}

#[derive(Debug)]
enum Connection {
    H1(Box<Http1<TlsStream<TcpStream>>>),
    H2(Box<Http2<TlsStream<TcpStream>>>),
}

impl Ingress {
    /// Starts all of it with this policy. `change` may mutate the bootstrap.
    pub async fn start(policy: &str, change: impl FnOnce(&mut Value)) -> Result<Self> {
        Self::begin(policy, None, change).await
    }

    /// The same, with somebody between Envoy and the server.
    pub async fn start_tampered(policy: &str, tampering: &Tampering) -> Result<Self> {
        Self::begin(policy, Some(tampering), |_| {}).await
    }

    async fn begin(
        policy: &str,
        tampering: Option<&Tampering>,
        change: impl FnOnce(&mut Value),
    ) -> Result<Self> {
        let stage = Stage::set(None)?;
        let file = PolicyFile::demo(&stage)?;
        file.write(policy)?;
        let source = IdentitySource::start(&stage, SourceKind::DevAgent, 3600).await?;
        let agent = source.dev_agent()?;
        agent.control(&stage, &["federate", "--trust-domain", FEDERATED])?;
        let directory = stage.directory("api", &stage.accounts.mesh)?;
        let server =
            SdsServer::start(&stage, &source, "api", Workload::Api, file.path(), &directory)?;
        let echo = Echo::listen(&directory.join("api.sock"))?;
        let address = SocketAddr::from((stage.address, stage.free_port()?));
        let mut socket = SdsServer::socket(&directory);
        let mut relay = None;
        if let Some(tampering) = tampering {
            let before = std::mem::replace(&mut socket, directory.join("relay.sock"));
            relay = Some(Relay::listen(&socket, &before, tampering)?);
        }
        let bootstrap = bootstrap(&stage, &directory, &socket, address)?.mutate(change)?;
        let mut envoy = Envoy::start(&stage, "api-envoy", &bootstrap, &directory)?;
        envoy.ready().await?;
        Ok(Self { envoy, server, _relay: relay, _echo: echo, source, policy: file, address, stage })
    }

    /// A caller whose certificate has these URI SANs, joined by a comma; at most two.
    pub fn caller(&self, sans: Option<&str>, protocol: Protocol) -> Result<Caller> {
        let svid = sans.map(|sans| self.mint(sans)).transpose()?;
        let alpn = match protocol {
            Protocol::H1 => "http/1.1",
            Protocol::H2 => "h2",
        };
        let tls = TlsCaller::new(svid.as_ref(), alpn)?;
        Ok(Caller { tls, address: self.address, protocol, connection: None, seen: None })
    }

    fn mint(&self, sans: &str) -> Result<FetchedSvid> {
        let agent = self.source.dev_agent()?;
        let fault: &[&str] = match sans.split_once(',') {
            // The first is always the client's own.
            Some((_, second)) => &["--variant", "two-uri-sans", "--other", second],
            None if sans.starts_with(&format!("spiffe://{FEDERATED}/")) => {
                &["--variant", "federated", "--other", sans]
            }
            None => &["--variant", "other-id", "--other", sans],
        };
        agent.mint(&self.stage, Workload::Client, fault)
    }

    /// The port that callers connect to.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Replaces the policy.
    pub fn write_policy(&self, text: &str) -> Result<()> {
        self.policy.write(text)
    }
}

/// The bootstrap of the API's sidecar. Callers of the federated trust domain get as far as the filter: their bundle is
/// trusted, and the second wall has the line that the file asks for.
fn bootstrap(
    stage: &Stage,
    directory: &Path,
    server: &Path,
    address: SocketAddr,
) -> Result<Bootstrap> {
    let ops = Ops::choose(stage)?;
    Bootstrap::read(&stage.programs, "api-proxy")?
        .with("NODE_ID", "api")
        .with("RUN_DIR", directory.display())
        .with("SDS_SOCKET", server.display())
        .with("TRUST_DOMAIN", TRUST_DOMAIN)
        .with("INGRESS_HOST", address.ip())
        .with("INGRESS_PORT", address.port())
        .with("API_SOCKET", directory.join("api.sock").display())
        .with("DB_SPIFFE_ID", Workload::Db.spiffe_id())
        .with("DB_HOST", address.ip())
        .with("DB_PORT", 1)
        .with("MAX_CONNECTION_DURATION", "600s")
        .with("OPS_HOST", address.ip())
        .with("METRICS_PORT", ops.metrics)
        .with("PROBES_PORT", ops.probes)
        .mutate(|configuration| {
            // `ALL` holds the bundles of federated trust domains too.
            holders(configuration, "validation_context_sds_secret_config", &mut |tls| {
                if tls.get("tls_certificate_sds_secret_configs").is_some() {
                    tls["validation_context_sds_secret_config"]["name"] = "ALL".into();
                }
            });
            // After an error of the protocol Envoy waits a second before it closes: too long for thousands of them.
            holders(configuration, "stat_prefix", &mut |manager| {
                if manager["stat_prefix"] == "ingress" {
                    manager["delayed_close_timeout"] = "0.01s".into();
                }
            });
            holders(configuration, "trust-domain", &mut |policies| {
                let principal = serde_json::json!({
                    "authenticated": { "principal_name": { "prefix": format!("spiffe://{FEDERATED}/") } }
                });
                if let Some(principals) = policies["trust-domain"]["principals"].as_array_mut() {
                    principals.push(principal);
                }
            });
        })
}

impl Caller {
    /// Sends a request as it stands. A handshake that fails is [`Answer::Closed`].
    pub async fn ask(&mut self, lines: &Lines) -> Result<Answer> {
        self.ask_with_trailers(lines, &Lines::new()).await
    }

    /// The same with trailers after an empty body, if there are any.
    pub async fn ask_with_trailers(&mut self, lines: &Lines, trailers: &Lines) -> Result<Answer> {
        let reused = self.connection.is_some();
        let answer = self.once(lines, trailers).await?;
        // Envoy may have closed a connection that it had answered on before.
        if answer == Answer::Closed && reused && self.connection.is_none() {
            return self.once(lines, trailers).await;
        }
        Ok(answer)
    }

    async fn once(&mut self, lines: &Lines, trailers: &Lines) -> Result<Answer> {
        let mut connection = if let Some(connection) = self.connection.take() {
            connection
        } else {
            let Ok(mut connection) = self.open().await else { return Ok(Answer::Closed) };
            // It may be another worker's, which takes up a policy a moment later.
            if let Some(seen) = &self.seen {
                until("the policy on a new connection", PATIENCE, async || {
                    decides(connection.ask(seen, &Lines::new()).await?.0)
                })
                .await?;
            }
            connection
        };
        let (answer, open) = connection.ask(lines, trailers).await?;
        if open {
            self.connection = Some(connection);
        }
        Ok(answer)
    }

    async fn open(&self) -> Result<Connection> {
        let stream = self.tls.connect(self.address).await?.stream;
        Ok(match self.protocol {
            Protocol::H1 => Connection::H1(Box::new(Http1::new(stream))),
            Protocol::H2 => Connection::H2(Box::new(Http2::open(stream).await?)),
        })
    }

    /// Waits until the policy whose rule `which-policy` allows `method` for `/which-policy/NAME` decides on this connection, and
    /// on those that are opened after it.
    pub async fn sees_policy(&mut self, method: &str, name: &str) -> Result<()> {
        let lines: Lines = [
            (":method", method),
            (":scheme", "https"),
            (":path", &format!("/which-policy/{name}")),
            (":authority", "which.policy"),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .into();
        self.seen = None;
        until("the new policy", PATIENCE, async || decides(self.ask(&lines).await?)).await?;
        self.seen = Some(lines);
        Ok(())
    }
}

impl Connection {
    /// Sends a request as it stands; the second value is false where the connection is of no more use.
    async fn ask(&mut self, lines: &Lines, trailers: &Lines) -> Result<(Answer, bool)> {
        let asked = async {
            match self {
                Self::H1(http) => http.ask(lines, trailers).await,
                Self::H2(http) => http.ask(lines, trailers).await,
            }
        };
        let answered = tokio::time::timeout(PATIENCE, asked).await;
        answered.with_context(|| format!("no answer to {lines:?}"))?
    }
}

/// Whether the policy that was waited for gave this answer.
fn decides(answer: Answer) -> Result<()> {
    match answer {
        Answer::Forwarded(seen) if seen.values("x-signet-rule") == ["which-policy"] => Ok(()),
        other => bail!("{other:?}"),
    }
}
