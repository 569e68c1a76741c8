//! What a filter can observe of Envoy: one process with one worker.

use std::collections::{BTreeMap, HashMap};

/// Headers in order, duplicates and all, as bytes.
pub type Headers = Vec<(Vec<u8>, Vec<u8>)>;

/// How loud a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything.
    Trace,
    /// For whoever looks for a fault.
    Debug,
    /// What happens as it should.
    Info,
    /// What somebody should know.
    Warn,
    /// What somebody must mend.
    Error,
    /// The end.
    Critical,
}

/// A line that the filter logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How loud.
    pub level: Level,
    /// Its text.
    pub text: String,
}

/// An answer of the filter's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalResponse {
    /// HTTP status. Envoy answers a gRPC request with 200 and `grpc_status` instead.
    pub status: u32,
    /// Response code details.
    pub details: String,
    /// The body.
    pub body: Vec<u8>,
    /// Headers besides those that Envoy sets.
    pub headers: Headers,
    /// Status for a gRPC request, if the filter named one.
    pub grpc_status: Option<i32>,
}

/// One request or connection.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// Values by path, the parts joined by NUL.
    pub(crate) properties: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Dynamic metadata by the filter that wrote it.
    pub(crate) metadata: serde_json::Map<String, serde_json::Value>,
    /// What the filter wrote, by the key that access logs use.
    pub(crate) filter_state: BTreeMap<String, Vec<u8>>,
    pub(crate) request: Headers,
    pub(crate) trailers: Headers,
    pub(crate) response: Option<LocalResponse>,
    /// Bytes of the client that no later filter has seen.
    pub(crate) downstream: Vec<u8>,
    /// Bytes of the server; only while the filter looks at them.
    pub(crate) upstream: Option<Vec<u8>>,
    /// Bytes of the client that went on to `tcp_proxy`.
    pub(crate) passed: Vec<u8>,
    /// The cluster that `tcp_proxy` chose when it first got to run.
    pub(crate) cluster: Option<String>,
    /// `close_downstream` was called.
    pub(crate) closed: bool,
}

impl Stream {
    /// What happens when the network filters behind ours get their turn.
    pub(crate) fn resume(&mut self) {
        if self.cluster.is_none() {
            let chosen = self.filter_state.get("envoy.tcp_proxy.cluster");
            self.cluster =
                Some(chosen.map_or_else(
                    || "deny".into(),
                    |name| String::from_utf8_lossy(name).into_owned(),
                ));
        }
        self.passed.append(&mut self.downstream);
    }
}

/// The process as the VM sees it.
#[derive(Debug)]
pub(crate) struct Envoy {
    pub(crate) configuration: Vec<u8>,
    pub(crate) nanoseconds: u64,
    pub(crate) tick_period: u32,
    pub(crate) logs: Vec<LogLine>,
    pub(crate) metrics: Vec<(String, u64)>,
    pub(crate) shared_data: HashMap<Vec<u8>, (Vec<u8>, u32)>,
    pub(crate) streams: HashMap<u32, Stream>,
    /// The one cluster that takes requests of the filter's own, if there is one.
    pub(crate) http_cluster: Option<Vec<u8>>,
    /// Body of the newest request of the filter's own, by the context in whose name it was made.
    pub(crate) posted: HashMap<u32, Vec<u8>>,
    /// The context that calls concern.
    pub(crate) effective: u32,
}

impl Envoy {
    pub(crate) fn stream(&mut self) -> Option<&mut Stream> {
        self.streams.get_mut(&self.effective)
    }

    pub(crate) fn log(&mut self, level: u32, text: String) {
        let level = match level {
            0 => Level::Trace,
            1 => Level::Debug,
            2 => Level::Info,
            3 => Level::Warn,
            4 => Level::Error,
            _ => Level::Critical,
        };
        self.logs.push(LogLine { level, text });
    }

    /// Finds or makes a metric; its id.
    pub(crate) fn metric(&mut self, name: String) -> usize {
        self.metrics.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
            self.metrics.push((name, 0));
            self.metrics.len() - 1
        })
    }
}
