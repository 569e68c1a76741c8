//! An agent whose broker answers, and says nothing of any process.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;
use tokio_rustls::TlsAcceptor;

use super::{Authority, HOUR};

/// Settings without any: how an HTTP/2 server begins.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

/// A running broker; dropping it closes all connections and removes the socket.
pub(crate) struct Broker {
    path: PathBuf,
    task: tokio::task::JoinHandle<()>,
}

impl Broker {
    /// Serves at `path` as the agent with this path of `authority`.
    pub(crate) fn serve(path: &Path, authority: &Authority, agent: &str) -> Self {
        let (chain, key) = authority.pair(agent, HOUR);
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![CertificateDer::from(chain)], key)
            .expect("a pair");
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let (acceptor, listener) =
            (TlsAcceptor::from(Arc::new(tls)), UnixListener::bind(path).expect("a socket"));
        let task = tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                // Who does not believe it leaves.
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let _ = stream.write_all(&SETTINGS).await;
                    open.push(stream);
                }
            }
        });
        Self { path: path.into(), task }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}
