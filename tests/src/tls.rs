//! TLS as a test needs it: a client with any SVID, or none, that tells what it was shown; and an
//! impostor that answers for somebody else.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context, Result};
use rustls::{
    ClientConfig, DigitallySignedStruct, HandshakeKind, ServerConfig, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

use crate::{FetchedSvid, fetched::Leaf};

/// A TLS client that keeps the sessions it is offered, and resumes them.
#[derive(Clone, Debug)]
pub struct TlsCaller {
    config: Arc<ClientConfig>,
}

/// A connection, and what its handshake showed.
#[derive(Debug)]
pub struct Handshake {
    /// The open stream. In TLS 1.3 the server may yet refuse our certificate.
    pub stream: TlsStream<TcpStream>,
    /// True if an earlier session was resumed.
    pub resumed: bool,
    /// The server's leaf certificate.
    pub server: Leaf,
}

impl TlsCaller {
    /// A client that presents this SVID, or no certificate.
    pub fn new(svid: Option<&FetchedSvid>, alpn: &str) -> Result<Self> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)));
        let mut config = match svid {
            None => builder.with_no_client_auth(),
            Some(svid) => {
                let (chain, key) = svid.parts();
                builder.with_client_auth_cert(chain, key).context("the SVID cannot be used")?
            }
        };
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        Ok(Self { config: Arc::new(config) })
    }

    /// Shakes hands on a connection of any kind with a server of any name.
    pub async fn secure<T: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: T,
    ) -> Result<TlsStream<T>> {
        let name = ServerName::try_from("signet.test")?;
        let connector = TlsConnector::from(self.config.clone());
        connector.connect(name, stream).await.context("the handshake failed")
    }

    /// Connects and shakes hands.
    pub async fn connect(&self, address: SocketAddr) -> Result<Handshake> {
        self.connect_to(address, "signet.test").await
    }

    /// The same, and names this server (SNI).
    pub async fn connect_to(&self, address: SocketAddr, server: &str) -> Result<Handshake> {
        let stream = TcpStream::connect(address).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(server.to_owned())?;
        let connector = TlsConnector::from(self.config.clone());
        let stream = connector.connect(name, stream).await.context("the handshake failed")?;
        let (_, session) = stream.get_ref();
        let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        let chain = session.peer_certificates().context("the server showed no certificate")?;
        let server = Leaf::read(chain.first().context("the server's chain is empty")?)?;
        Ok(Handshake { stream, resumed, server })
    }
}

/// The certificate that a server shows to a caller without one.
pub async fn presented_by(address: SocketAddr) -> Result<Leaf> {
    let handshake = TlsCaller::new(None, "h2")?.connect(address).await?;
    Ok(handshake.server)
}

/// Accepts whatever server answers: the tests look at it themselves.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only TLS 1.3 is spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A TLS server that answers where another should, with a valid SVID of its own, and counts what
/// is sent to it once a handshake is done.
#[derive(Debug)]
pub struct Impostor {
    address: SocketAddr,
    seen: Arc<Seen>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Seen {
    connections: AtomicU64,
    bytes: AtomicU64,
}

impl Impostor {
    /// Listens on a free port of `address`.
    pub async fn listen(address: Ipv4Addr, svid: &FetchedSvid) -> Result<Self> {
        let (chain, key) = svid.parts();
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"postgresql".to_vec()];
        let listener = TcpListener::bind((address, 0)).await?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Seen::default());
        let accepting =
            tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), seen.clone()));
        Ok(Self { address, seen, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// TCP connections that came.
    pub fn connections(&self) -> u64 {
        self.seen.connections.load(Ordering::Relaxed)
    }

    /// Bytes that came through TLS.
    pub fn bytes(&self) -> u64 {
        self.seen.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, seen: Arc<Seen>) {
    while let Ok((stream, _)) = listener.accept().await {
        seen.connections.fetch_add(1, Ordering::Relaxed);
        let (acceptor, seen) = (acceptor.clone(), seen.clone());
        tokio::spawn(async move {
            // A caller that finds out whom it talks to ends the handshake here.
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                seen.bytes.fetch_add(count as u64, Ordering::Relaxed);
            }
        });
    }
}
