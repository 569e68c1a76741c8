//! A running API on a Unix socket.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use reqwest::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

/// Killed when dropped.
pub(crate) struct Api {
    pub(crate) child: Child,
    directory: TempDir,
    http: reqwest::Client,
}

/// What the sidecar says of the caller.
pub(crate) const READER: &[(&str, &str)] = &[
    ("x-spiffe-id", "spiffe://example.org/client"),
    ("x-db-role", "customers_reader"),
    ("x-signet-rule", "reads"),
];

/// The same with another role.
pub(crate) const WRITER: &[(&str, &str)] = &[
    ("x-spiffe-id", "spiffe://example.org/client"),
    ("x-db-role", "customers_writer"),
    ("x-signet-rule", "writes"),
];

impl Api {
    /// Starts it before the database whose socket is in `database`, and waits for its ready line.
    pub(crate) fn start(database: &Path, options: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("api.sock");
        let mut child = Command::new(env!("CARGO_BIN_EXE_example-api"))
            .arg(format!("--listen=unix:{}", socket.display()))
            .arg(format!("--database=host={} user=api dbname=customers", database.display()))
            .args(options)
            .env("RUST_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        assert_eq!(ready.trim_end(), format!("example-api ready on unix:{}", socket.display()));
        let http = reqwest::Client::builder().unix_socket(socket).build().unwrap();
        Self { child, directory, http }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("api.sock")
    }

    /// Status and body of one request.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request = self.http.request(method, format!("http://api{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        (response.status(), response.json().await.unwrap_or(Value::Null))
    }

    /// Status and body of a GET.
    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> (StatusCode, Value) {
        self.ask(Method::GET, path, headers, None).await
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
