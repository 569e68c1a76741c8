//! Mutual TLS by SVIDs: ours is shown, the peer's is demanded.
//!
//! Everything is looked up when it is needed: the SVID, the bundles and the allow-list of that
//! moment. So rotations and changed lists need no new listener. Sessions are never resumed, since a
//! resumed session is not verified again.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::crypto::{ring, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, ServerConfig,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use spiffe::SpiffeId;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::admission::NotAdmitted;
use super::grant::Grant;
use crate::config::LiveConfig;
use crate::sources::Identities;

/// Why a peer's certificate does not let it in. At the handshake the peer is told nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClientFault {
    #[error("its certificate cannot be read: {0}")]
    Unreadable(String),
    #[error("its certificate has {0} URI SANs, accepted is exactly one, a SPIFFE ID with a path")]
    UriSans(usize),
    #[error("its URI SAN `{0}` is no SPIFFE ID with a path")]
    SpiffeId(String),
    #[error("{id}: {reason}")]
    NotAdmitted { id: SpiffeId, reason: NotAdmitted },
    #[error("{id}: no bundle of its trust domain is known here")]
    NoBundle { id: SpiffeId },
    #[error("{id}: its certificate is refused: {reason}")]
    Chain { id: SpiffeId, reason: webpki::Error },
}

impl ClientFault {
    /// The metric's label.
    pub(super) fn class(&self) -> &'static str {
        match self {
            Self::NotAdmitted { reason, .. } => reason.class(),
            Self::Chain { reason: webpki::Error::CertExpired { .. }, .. } => "certificate_expired",
            _ => "certificate",
        }
    }

    /// What the peer is told of a certificate that was good when it connected.
    pub(super) fn to_peer(&self) -> &'static str {
        match self {
            Self::Chain { reason: webpki::Error::CertExpired { .. }, .. } => {
                "the certificate that opened this connection has expired"
            }
            _ => "the certificate that opened this connection is no longer trusted",
        }
    }

    /// The fault that made a handshake fail, if one did.
    pub(super) fn behind(error: &io::Error) -> Option<&Self> {
        let Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(fault)))) =
            error.get_ref()?.downcast_ref()
        else {
            return None;
        };
        (fault.as_ref() as &(dyn Error + 'static)).downcast_ref()
    }
}

/// A peer that has shown who it is.
#[derive(Debug, Clone)]
pub(super) struct ProvenPeer {
    pub(super) id: SpiffeId,
    /// When the first certificate of its chain expires.
    pub(super) not_after: SystemTime,
    pub(super) chain: Vec<CertificateDer<'static>>,
}

/// How peers are identified now.
#[derive(Debug, Clone)]
pub(crate) struct Identification {
    identities: watch::Receiver<Identities>,
    config: LiveConfig,
}

impl Identification {
    pub(crate) fn new(identities: watch::Receiver<Identities>, config: LiveConfig) -> Self {
        Self { identities, config }
    }

    /// For all handshakes. TLS 1.3 only, so that the peer's certificate is never seen by others.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("ring has TLS 1.3");
        let mut tls = builder
            .with_client_cert_verifier(Arc::new(Verifier {
                identification: self.clone(),
                provider,
            }))
            .with_cert_resolver(Arc::new(OwnSvid(self.identities.clone())));
        tls.alpn_protocols = vec![b"h2".to_vec()];
        tls.session_storage = Arc::new(NoServerSessionStorage {});
        tls.send_tls13_tickets = 0;
        TlsAcceptor::from(Arc::new(tls))
    }

    /// Who is at the other end of a finished handshake.
    pub(super) fn proven(&self, stream: &TlsStream<TcpStream>) -> Result<ProvenPeer, ClientFault> {
        let (_, tls) = stream.get_ref();
        let chain: Vec<_> = tls.peer_certificates().unwrap_or_default().to_vec();
        let id = spiffe_id(chain.first())?;
        let ends = chain.iter().map(|certificate| not_after(certificate));
        let ends = ends.collect::<Result<Vec<_>, _>>()?;
        let not_after = ends.into_iter().min().unwrap_or(SystemTime::UNIX_EPOCH);
        let proven = ProvenPeer { id, not_after, chain };
        self.confirm(&proven)?;
        Ok(proven)
    }

    /// Whether the peer would get in now.
    pub(super) fn confirm(&self, peer: &ProvenPeer) -> Result<(), ClientFault> {
        let (leaf, intermediates) =
            peer.chain.split_first().ok_or(ClientFault::Unreadable("there is none".into()))?;
        self.verify(leaf, intermediates, UnixTime::now()).map(drop)
    }

    /// Waits until [`Identification::confirm`] may say something else. Cancel safe.
    pub(super) async fn changed(&mut self) {
        // Writers end before readers only when the server stops.
        let changed = tokio::select! {
            changed = self.identities.changed() => changed,
            changed = self.config.changed() => changed,
        };
        if changed.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Exactly one SPIFFE ID, listed, and signed by an authority of its own trust domain.
    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<SpiffeId, ClientFault> {
        let id = spiffe_id(Some(leaf))?;
        Grant::of_workload(&id, &self.config.borrow().listen)
            .map_err(|reason| ClientFault::NotAdmitted { id: id.clone(), reason })?;
        let snapshot = Arc::clone(&self.identities.borrow().snapshot);
        let bundle = snapshot
            .bundles
            .get(id.trust_domain())
            .ok_or_else(|| ClientFault::NoBundle { id: id.clone() })?;
        let authorities: Vec<_> =
            bundle.authorities().iter().map(|a| CertificateDer::from(a.as_bytes())).collect();
        let anchors: Vec<_> =
            authorities.iter().filter_map(|a| anchor_from_trusted_cert(a).ok()).collect();
        EndEntityCert::try_from(leaf)
            .and_then(|certificate| {
                certificate
                    .verify_for_usage(
                        webpki::ALL_VERIFICATION_ALGS,
                        &anchors,
                        intermediates,
                        now,
                        KeyUsage::client_auth(),
                        None,
                        None,
                    )
                    .map(drop)
            })
            .map_err(|reason| ClientFault::Chain { id: id.clone(), reason })?;
        Ok(id)
    }
}

/// The leaf's only URI SAN, as X.509-SVID §2 demands.
fn spiffe_id(leaf: Option<&CertificateDer<'_>>) -> Result<SpiffeId, ClientFault> {
    let unreadable = |reason: String| ClientFault::Unreadable(reason);
    let leaf = leaf.ok_or_else(|| unreadable("there is none".into()))?;
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|e| unreadable(e.to_string()))?;
    let sans = leaf.subject_alternative_name().map_err(|e| unreadable(e.to_string()))?;
    let names = sans.map(|sans| sans.value.general_names.as_slice()).unwrap_or_default();
    let uris: Vec<&str> = names
        .iter()
        .filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None })
        .collect();
    let [uri] = uris.as_slice() else { return Err(ClientFault::UriSans(uris.len())) };
    let id = SpiffeId::new(*uri).ok().filter(|id| !id.path().is_empty());
    id.ok_or_else(|| ClientFault::SpiffeId((*uri).to_owned()))
}

fn not_after(certificate: &CertificateDer<'_>) -> Result<SystemTime, ClientFault> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|error| ClientFault::Unreadable(error.to_string()))?;
    Ok(parsed.validity().not_after.to_datetime().into())
}

/// Shows the default SVID of the moment. The key is parsed for every handshake and not kept.
#[derive(Debug)]
struct OwnSvid(watch::Receiver<Identities>);

impl ResolvesServerCert for OwnSvid {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let snapshot = Arc::clone(&self.0.borrow().snapshot);
        let svid = snapshot.default_svid()?;
        svid.check_validity(SystemTime::now()).ok()?;
        let chain = svid.chain().map(|der| CertificateDer::from(der.to_vec())).collect();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(svid.key()));
        let key = ring::sign::any_supported_type(&key).ok()?;
        Some(Arc::new(CertifiedKey::new(chain, key)))
    }
}

/// Demands a certificate and judges it.
#[derive(Debug)]
struct Verifier {
    identification: Identification,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Names of authorities would tell strangers who is trusted.
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        match self.identification.verify(leaf, intermediates, now) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(fault) => Err(CertificateError::Other(OtherError(Arc::new(fault))).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
