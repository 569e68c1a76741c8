//! A network filter in front of `tcp_proxy`, and the connections through it.

use std::collections::BTreeMap;

use crate::{
    envoy::{LogLine, Stream},
    error::HostError,
    module::FilterModule,
    vm::Vm,
};

const PAUSE: u32 = 1;

/// A running network filter.
#[derive(Debug)]
pub struct PostgresFilter {
    vm: Vm,
}

/// Names a connection of a [`PostgresFilter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection(u32);

/// What one event made of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that went on to the server.
    pub to_server: Vec<u8>,
    /// Bytes that went on to the client; also those that the deny cluster's echo sent back.
    pub to_client: Vec<u8>,
    /// The filter has closed the connection.
    pub closed: bool,
}

impl PostgresFilter {
    /// Starts a VM with this plugin configuration.
    pub fn start(module: &FilterModule, configuration: &[u8]) -> Result<Self, HostError> {
        Vm::start(module, configuration).map(|vm| Self { vm })
    }

    /// Updates the configuration as an ECDS push does: for new connections. Refused: the old one stays in force.
    pub fn configure(&mut self, configuration: &[u8]) -> Result<(), HostError> {
        self.vm.configure(configuration)
    }

    /// Sets the clock that the filter sees; at first it shows the time of the start. Seconds since 1970.
    pub fn set_unix_seconds(&mut self, seconds: u64) {
        self.vm.set_unix_seconds(seconds);
    }

    /// Lets there be a cluster that takes requests of the filter's own. At first there is none.
    pub fn set_http_cluster(&mut self, cluster: &str) {
        self.vm.set_http_cluster(cluster);
    }

    /// The body of the newest request that the filter made in a connection's name; empty if there was none.
    pub fn posted(&self, connection: Connection) -> Vec<u8> {
        self.vm.posted(Some(connection.0))
    }

    /// The same of those in no connection's name.
    pub fn posted_by_root(&self) -> Vec<u8> {
        self.vm.posted(None)
    }

    /// A metric's value; `None` if the filter never defined it.
    pub fn metric(&self, name: &str) -> Option<u64> {
        self.vm.metric(name)
    }

    /// All that the filter has logged since its start.
    pub fn logs(&self) -> &[LogLine] {
        self.vm.logs()
    }

    /// A client connects. `peer` is the filter state `signet.peer` that the listener writes.
    pub fn connect(&mut self, peer: Option<&[u8]>) -> Result<Connection, HostError> {
        let mut stream = Stream::default();
        if let Some(peer) = peer {
            stream.properties.insert(b"filter_state\0signet.peer".to_vec(), peer.to_vec());
        }
        let context = self.vm.open(stream)?;
        let action: u32 = self.vm.call("proxy_on_new_connection", context, context)?;
        if action != PAUSE {
            self.vm.stream(context).resume();
        }
        Ok(Connection(context))
    }

    /// The client sends bytes, or ends its side.
    pub fn from_client(
        &mut self,
        connection: Connection,
        bytes: &[u8],
        end: bool,
    ) -> Result<Progress, HostError> {
        let Connection(context) = connection;
        let stream = self.vm.stream(context);
        stream.downstream.extend(bytes);
        let size = u32::try_from(stream.downstream.len()).unwrap_or(u32::MAX);
        let action: u32 =
            self.vm.call("proxy_on_downstream_data", context, (context, size, u32::from(end)))?;
        if action != PAUSE {
            self.vm.stream(context).resume();
        }
        self.progress(context, Vec::new())
    }

    /// The server sends bytes, or ends its side.
    pub fn from_server(
        &mut self,
        connection: Connection,
        bytes: &[u8],
        end: bool,
    ) -> Result<Progress, HostError> {
        let Connection(context) = connection;
        let to_client = self.upstream(context, bytes, end)?;
        self.progress(context, to_client)
    }

    /// The timer fires; what became of this connection.
    pub fn tick(&mut self, connection: Connection) -> Result<Progress, HostError> {
        self.vm.tick()?;
        self.progress(connection.0, Vec::new())
    }

    /// The cluster that `tcp_proxy` has chosen; `None` while it waits.
    pub fn cluster(&mut self, connection: Connection) -> Option<String> {
        self.vm.stream(connection.0).cluster.clone()
    }

    /// The connection is gone; the filter state that the filter wrote, by key (`wasm.signet.role`).
    pub fn disconnect(
        &mut self,
        connection: Connection,
    ) -> Result<BTreeMap<String, Vec<u8>>, HostError> {
        self.vm.close(connection.0).map(|stream| stream.filter_state)
    }

    fn upstream(&mut self, context: u32, bytes: &[u8], end: bool) -> Result<Vec<u8>, HostError> {
        self.vm.stream(context).upstream = Some(bytes.to_vec());
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let end = u32::from(end);
        let action: u32 = self.vm.call("proxy_on_upstream_data", context, (context, size, end))?;
        let to_client = self.vm.stream(context).upstream.take().unwrap_or_default();
        Ok(if action == PAUSE { Vec::new() } else { to_client })
    }

    /// Collects what went on, and lets the deny cluster send back what it got.
    fn progress(&mut self, context: u32, mut to_client: Vec<u8>) -> Result<Progress, HostError> {
        let stream = self.vm.stream(context);
        let mut to_server = std::mem::take(&mut stream.passed);
        if stream.cluster.as_deref() == Some("deny") && !to_server.is_empty() {
            let echoed = std::mem::take(&mut to_server);
            to_client.extend(self.upstream(context, &echoed, false)?);
        }
        Ok(Progress { to_server, to_client, closed: self.vm.stream(context).closed })
    }
}
