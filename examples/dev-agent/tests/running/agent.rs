//! A running dev-agent in a private directory, and what certificates say.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::pin::Pin;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::StreamExt;
use serde_json::Value;
use spiffe::cert::Certificate;
use spiffe::{WorkloadApiClient, WorkloadApiError, X509Svid};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};
use x509_parser::prelude::{FromDer, X509Certificate};

const PATIENCE: Duration = Duration::from_secs(10);

/// An open stream of SVIDs.
pub(crate) type Stream =
    Pin<Box<dyn futures::Stream<Item = Result<X509Svid, WorkloadApiError>> + Send + 'static>>;

/// Killed when dropped.
pub(crate) struct Agent {
    child: Child,
    directory: TempDir,
}

impl Agent {
    /// Starts it with `options` and waits for its ready line.
    pub(crate) fn start(options: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), options)
    }

    /// The same in a directory that may not be empty.
    pub(crate) fn start_in(directory: TempDir, options: &[&str]) -> Self {
        let mut child = serve(&directory, options).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        if !ready.starts_with("dev-agent ready") {
            let mut errors = String::new();
            child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
            panic!("dev-agent did not start: {ready:?}\n{errors}");
        }
        Self { child, directory }
    }

    pub(crate) fn socket(&self, workload: &str) -> PathBuf {
        self.directory.path().join(format!("{workload}.sock"))
    }

    pub(crate) async fn client(&self, workload: &str) -> WorkloadApiClient {
        let endpoint = format!("unix://{}", self.socket(workload).display());
        WorkloadApiClient::connect_to(endpoint).await.unwrap()
    }

    pub(crate) async fn channel(&self, workload: &str) -> Channel {
        let endpoint = format!("unix://{}", self.socket(workload).display());
        Endpoint::from_shared(endpoint).unwrap().connect().await.unwrap()
    }

    /// A stream that has given its first SVID.
    pub(crate) async fn open_stream(&self, workload: &str) -> Stream {
        let client = self.client(workload).await;
        let mut stream: Stream = Box::pin(client.stream_x509_svids().await.unwrap());
        within(stream.next()).await.unwrap().unwrap();
        stream
    }

    /// Runs `dev-agent ctl` as a person would.
    pub(crate) fn try_ctl(&self, command: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_dev-agent"))
            .arg("ctl")
            .arg("--directory")
            .arg(self.directory.path())
            .args(command)
            .output()
            .unwrap()
    }

    /// The same, which must succeed; the state it prints.
    pub(crate) fn ctl(&self, command: &[&str]) -> Value {
        let output = self.try_ctl(command);
        assert!(
            output.status.success(),
            "ctl {command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub(crate) async fn wait_for_subscribers(&self, workload: &str, count: u64) {
        self.wait_until(|| self.ctl(&["status"])["workloads"][workload]["subscribers"] == count)
            .await;
    }

    pub(crate) async fn wait_until(&self, condition: impl Fn() -> bool) {
        within(async {
            while !condition() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// Ends it and returns what it wrote to standard error.
    pub(crate) fn into_errors(mut self) -> String {
        self.child.kill().unwrap();
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        errors
    }

    /// Sends a signal by name, waits for the end, and gives the directory back.
    pub(crate) fn end(mut self, signal: &str) -> (ExitStatus, TempDir) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        let status = self.child.wait().unwrap();
        (status, std::mem::replace(&mut self.directory, tempfile::tempdir().unwrap()))
    }
}

/// The command that serves in `directory`, not yet started.
pub(crate) fn serve(directory: &TempDir, options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dev-agent"));
    command.arg("serve").arg("--directory").arg(directory.path()).args(options);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Fails a test instead of letting it hang.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("nothing came in time")
}

/// Whether each certificate of the chain is signed by the next, and the last by `root`.
pub(crate) fn chain_leads_to(chain: &[Certificate], root: &Certificate) -> bool {
    let issuers = chain.iter().skip(1).chain([root]);
    chain.iter().zip(issuers).all(|(certificate, issuer)| {
        parsed(certificate).verify_signature(Some(parsed(issuer).public_key())).is_ok()
    })
}

/// The end of a certificate's life in seconds since the epoch.
pub(crate) fn end_of(certificate: &Certificate) -> i64 {
    parsed(certificate).validity().not_after.timestamp()
}

/// The serial number as `status` prints it.
pub(crate) fn serial_of(certificate: &Certificate) -> String {
    parsed(certificate).raw_serial_as_string().replace(':', "")
}

/// Seconds since the epoch.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed()
}

fn parsed(certificate: &Certificate) -> X509Certificate<'_> {
    X509Certificate::from_der(certificate.as_bytes()).unwrap().1
}
