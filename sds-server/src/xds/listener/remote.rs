//! Connections to the TCP socket, with mutual TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::stream::{Stream, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;

use super::connection::{Connection, Watch};
use super::goodbye::goodbye;
use crate::config::LiveConfig;
use crate::xds::admission::{Door, Gate, NotAdmitted, Pass};
use crate::xds::peer::Peer;
use crate::xds::registry::Registry;
use crate::xds::status::Refusal;
use crate::xds::tls::{ClientFault, Identification, ProvenPeer};

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Handshakes that may go on at once; how many begin is limited by `limits.opens_per_second`.
const HANDSHAKES: usize = 1024;
/// Clocks may be turned while a connection is open: its certificate is looked at this often.
const LOOK: Duration = Duration::from_secs(5);
/// Certificates are good throughout the second that they name as their end.
const LAST: Duration = Duration::from_secs(1);

/// The TCP socket and its rules.
pub(super) struct Remote {
    listener: Option<TcpListener>,
    gate: Arc<Gate>,
    config: LiveConfig,
    acceptor: TlsAcceptor,
    identification: Identification,
    registry: Arc<Registry>,
}

/// Why a connection comes to nothing.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    #[error(transparent)]
    Client(#[from] ClientFault),
    #[error("the TLS handshake took longer than {} s", HANDSHAKE.as_secs())]
    Slow,
    #[error("the TLS handshake failed: {0}")]
    Handshake(#[source] io::Error),
}

impl Failure {
    /// The metric's label.
    fn class(&self) -> &'static str {
        match self {
            Self::NotAdmitted(reason) => reason.class(),
            Self::Client(fault) => fault.class(),
            Self::Slow | Self::Handshake(_) => "tls",
        }
    }
}

impl Remote {
    pub(super) fn new(
        listener: Option<TcpListener>,
        gate: Arc<Gate>,
        config: LiveConfig,
        identification: Identification,
        registry: Arc<Registry>,
    ) -> Self {
        let acceptor = identification.acceptor();
        Self { listener, gate, config, acceptor, identification, registry }
    }

    pub(super) fn connections(mut self) -> impl Stream<Item = Connection> {
        let listener = self.listener.take();
        let this = Arc::new(self);
        let keeper = Arc::clone(&this);
        let accepted = super::accepted(listener, move |listener: Arc<TcpListener>| {
            let keeper = Arc::clone(&keeper);
            async move {
                let (stream, address) = listener.accept().await?;
                Ok(keeper.enter(address).map(|pass| (stream, address, pass)))
            }
        });
        let shaken = accepted.map(move |(stream, address, pass)| {
            let this = Arc::clone(&this);
            async move { this.identify(stream, address, pass).await }
        });
        shaken.buffer_unordered(HANDSHAKES).filter_map(std::future::ready)
    }

    fn enter(&self, address: SocketAddr) -> Option<Pass> {
        let entered = self.gate.enter(Door::Tcp, Instant::now());
        entered
            .inspect_err(|reason| self.registry.refuse(&address.ip(), reason.class(), reason))
            .ok()
    }

    async fn identify(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        mut pass: Pass,
    ) -> Option<Connection> {
        let refused =
            |failure: &Failure| self.registry.refuse(&address.ip(), failure.class(), failure);
        let shaken = async {
            stream.set_nodelay(true).map_err(Failure::Handshake)?;
            let handshake = self.acceptor.accept(stream);
            let shaken = timeout(HANDSHAKE, handshake).await.map_err(|_| Failure::Slow)?;
            let stream = shaken.map_err(|error| match ClientFault::behind(&error) {
                Some(fault) => Failure::Client(fault.clone()),
                None => Failure::Handshake(error),
            })?;
            // What the verifier saw; asked again, since it cannot tell us.
            let proven = self.identification.proven(&stream)?;
            Ok::<_, Failure>((stream, proven))
        };
        let (mut stream, proven) = shaken.await.inspect_err(refused).ok()?;
        let peer = Peer::Remote(proven.id.clone(), address.ip());
        if let Err(reason) = pass.identify(&peer) {
            self.registry.refuse(&peer, reason.class(), &reason);
            let _ = timeout(HANDSHAKE, stream.write_all(&goodbye(reason.class()))).await;
            let _ = timeout(HANDSHAKE, stream.shutdown()).await;
            return None;
        }
        let patience = self.config.borrow().limits.slow_reader.duration();
        let unwelcome = unwelcome(proven, self.identification.clone());
        let transport = Either::Right(Box::new(stream));
        Some(Connection::new(transport, peer, pass, unwelcome, patience))
    }
}

/// Resolves when the peer would not get in any more: its certificate has expired, its authority is
/// no longer trusted, or the configuration does not list it.
fn unwelcome(proven: ProvenPeer, mut identification: Identification) -> Watch {
    Box::pin(async move {
        loop {
            if let Err(fault) = identification.confirm(&proven) {
                return Refusal::Unproven(fault);
            }
            let end = proven.not_after + LAST;
            let left = end.duration_since(SystemTime::now()).unwrap_or_default();
            tokio::select! {
                () = identification.changed() => {}
                () = sleep(left.min(LOOK)) => {}
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use rustls_pki_types::CertificateDer;
    use spiffe::TrustDomain;
    use tokio::sync::watch;

    use super::*;
    use crate::config::Config;
    use crate::sources::test_context::Authority;
    use crate::sources::{Identities, SvidSnapshot};

    #[tokio::test]
    async fn the_end_of_a_certificate_is_slept_to_and_not_waited_for_in_a_loop() {
        let authority = Authority::new("example.org");
        let svid = authority.svid("/edge", Duration::from_secs(2));
        let context = Authority::context(&[], &[&authority]);
        let domain = TrustDomain::new("example.org").expect("a domain");
        let bundles = [(domain.clone(), context.bundle_set().get(&domain).expect("there"))].into();
        let snapshot = Arc::new(SvidSnapshot { bundles, ..SvidSnapshot::default() });
        let (_identities, identities) =
            watch::channel(Identities { snapshot, ..Identities::default() });
        let config = "source: {workload_api: {socket: unix:///a}}
listen: {tcp: {address: '127.0.0.1:0', allow: [{peer: spiffe://example.org/*, names: [default]}]}}
";
        let (_config, config) = watch::channel(Config::parse(config).expect("valid").into());
        let leaf = CertificateDer::from(svid.cert_chain()[0].as_bytes().to_vec());
        let (_, read) = x509_parser::parse_x509_certificate(&leaf).expect("a certificate");
        let not_after = read.validity().not_after.to_datetime().into();
        let proven = ProvenPeer { id: svid.spiffe_id().clone(), not_after, chain: vec![leaf] };
        let mut watch = unwelcome(proven, Identification::new(identities, config));
        let mut polls = 0;
        let refusal = poll_fn(|context| {
            polls += 1;
            watch.as_mut().poll(context)
        });
        let refusal = refusal.await;
        assert_eq!(refusal.class(), "certificate_expired", "{refusal}");
        assert!(polls < 10, "asked {polls} times");
    }
}
