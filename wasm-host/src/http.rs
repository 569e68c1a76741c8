//! An HTTP filter and its exchanges.

use std::collections::BTreeMap;

use crate::{
    envoy::{Headers, LocalResponse, LogLine, Stream},
    error::HostError,
    module::FilterModule,
    vm::Vm,
};

/// A running HTTP filter.
#[derive(Debug)]
pub struct HttpFilter {
    vm: Vm,
}

/// A request as it reaches the filter.
#[derive(Clone, Debug, Default)]
pub struct HttpRequest {
    /// The connection's filter state `signet.peer`; `None` where the listener wrote none.
    pub peer: Option<Vec<u8>>,
    /// Headers, pseudo-headers among them, names in lower case.
    pub headers: Headers,
    /// Trailers; empty for none.
    pub trailers: Headers,
    /// Dynamic metadata by the filter that wrote it, such as
    /// `{"envoy.filters.http.jwt_authn": {"jwt_payload": {"sub": "alice"}}}`.
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// Other properties, the parts of their path joined by NUL.
    pub properties: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpOutcome {
    /// It goes on to the upstream.
    Forwarded {
        /// Headers as the upstream gets them.
        headers: Headers,
        /// Trailers as the upstream gets them.
        trailers: Headers,
    },
    /// The filter answered it.
    Answered(LocalResponse),
}

/// A request's outcome and its traces.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// What became of it.
    pub outcome: HttpOutcome,
    /// Filter state that the filter wrote, by key (`wasm.signet.rule`).
    pub filter_state: BTreeMap<String, Vec<u8>>,
    /// Lines that it logged.
    pub logs: Vec<LogLine>,
}

impl HttpFilter {
    /// Starts a VM with this plugin configuration.
    pub fn start(module: &FilterModule, configuration: &[u8]) -> Result<Self, HostError> {
        Vm::start(module, configuration).map(|vm| Self { vm })
    }

    /// Updates the configuration as an ECDS push does. Refused: the old one stays in force.
    pub fn configure(&mut self, configuration: &[u8]) -> Result<(), HostError> {
        self.vm.configure(configuration)
    }

    /// Sets the clock that the filter sees; at first it shows the time of the start. Seconds since 1970.
    pub fn set_unix_seconds(&mut self, seconds: u64) {
        self.vm.set_unix_seconds(seconds);
    }

    /// A metric's value once the filter's timer has run; `None` if the filter never defined it.
    pub fn metric(&mut self, name: &str) -> Result<Option<u64>, HostError> {
        self.vm.tick()?;
        Ok(self.vm.metric(name))
    }

    /// All that the filter has logged since its start.
    pub fn logs(&self) -> &[LogLine] {
        self.vm.logs()
    }

    /// Runs one request through the filter.
    pub fn exchange(&mut self, request: &HttpRequest) -> Result<Exchange, HostError> {
        let mut properties = request.properties.clone();
        if let Some(peer) = &request.peer {
            properties.insert(b"filter_state\0signet.peer".to_vec(), peer.clone());
        }
        let lines = self.vm.logs().len();
        let stream = Stream {
            properties,
            metadata: request.metadata.clone(),
            request: request.headers.clone(),
            trailers: request.trailers.clone(),
            ..Stream::default()
        };
        let context = self.vm.open(stream)?;
        let count = u32::try_from(request.headers.len()).unwrap_or(u32::MAX);
        let end = u32::from(request.trailers.is_empty());
        self.vm.call::<_, u32>("proxy_on_request_headers", context, (context, count, end))?;
        if !request.trailers.is_empty() && self.vm.stream(context).response.is_none() {
            let count = u32::try_from(request.trailers.len()).unwrap_or(u32::MAX);
            self.vm.call::<_, u32>("proxy_on_request_trailers", context, (context, count))?;
        }
        let stream = self.vm.close(context)?;
        let outcome = match stream.response {
            Some(response) => HttpOutcome::Answered(response),
            None => HttpOutcome::Forwarded { headers: stream.request, trailers: stream.trailers },
        };
        Ok(Exchange {
            outcome,
            filter_state: stream.filter_state,
            logs: self.vm.logs()[lines..].to_vec(),
        })
    }
}
