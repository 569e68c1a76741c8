//! One running VM: its contexts and the callbacks into it.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use wasmtime::{Instance, Linker, Store, WasmParams, WasmResults};

use crate::{
    envoy::{Envoy, LogLine, Stream},
    error::HostError,
    imports,
    module::FilterModule,
};

/// A module with its memory, a root context and streams.
#[derive(Debug)]
pub(crate) struct Vm {
    store: Store<Envoy>,
    instance: Instance,
    root: u32,
    next_context: u32,
}

impl Vm {
    /// Instantiates the module and configures a root context, as Envoy does on a worker.
    pub(crate) fn start(module: &FilterModule, configuration: &[u8]) -> Result<Self, HostError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let envoy = Envoy {
            configuration: Vec::new(),
            nanoseconds: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
            tick_period: 0,
            logs: Vec::new(),
            metrics: Vec::new(),
            shared_data: HashMap::new(),
            streams: HashMap::new(),
            http_cluster: None,
            posted: HashMap::new(),
            effective: 0,
        };
        let mut store = Store::new(&module.engine, envoy);
        let mut linker = Linker::new(&module.engine);
        imports::link(&mut linker).map_err(HostError::Abi)?;
        let instance = linker.instantiate(&mut store, &module.module).map_err(HostError::Abi)?;
        let mut vm = Self { store, instance, root: 0, next_context: 1 };
        vm.configure(configuration)?;
        Ok(vm)
    }

    /// Gives a new root context this configuration, as a dynamic update does. Refused: the old one stays.
    pub(crate) fn configure(&mut self, configuration: &[u8]) -> Result<(), HostError> {
        let root = self.next_context;
        self.next_context += 1;
        self.notify("proxy_on_context_create", root, (root, 0_u32))?;
        self.envoy_mut().configuration = configuration.to_vec();
        let lines = self.logs().len();
        let size = u32::try_from(configuration.len()).unwrap_or(u32::MAX);
        let accepted: u32 = self.call("proxy_on_configure", root, (root, size))?;
        if accepted == 0 {
            let log = self.logs()[lines..]
                .iter()
                .map(|line| line.text.as_str())
                .collect::<Vec<_>>()
                .join("; ");
            self.notify("proxy_on_delete", root, root)?;
            return Err(HostError::ConfigurationRefused { log });
        }
        self.root = root;
        Ok(())
    }

    /// Opens a stream under the newest root context.
    pub(crate) fn open(&mut self, mut stream: Stream) -> Result<u32, HostError> {
        let context = self.next_context;
        self.next_context += 1;
        stream
            .properties
            .insert(b"connection_id".to_vec(), u64::from(context).to_le_bytes().to_vec());
        self.envoy_mut().streams.insert(context, stream);
        self.notify("proxy_on_context_create", context, (context, self.root))?;
        Ok(context)
    }

    /// Ends a stream; what Envoy knew of it.
    pub(crate) fn close(&mut self, context: u32) -> Result<Stream, HostError> {
        self.notify("proxy_on_delete", context, context)?;
        // Envoy ends them with their context.
        self.envoy_mut().posted.remove(&context);
        Ok(self.envoy_mut().streams.remove(&context).unwrap_or_default())
    }

    /// Runs the timer of the newest root context.
    pub(crate) fn tick(&mut self) -> Result<(), HostError> {
        self.call("proxy_on_tick", self.root, self.root)
    }

    /// Calls an export that a module need not have.
    fn notify<P: WasmParams>(
        &mut self,
        callback: &'static str,
        context: u32,
        parameters: P,
    ) -> Result<(), HostError> {
        match self.instance.get_func(&mut self.store, callback) {
            Some(_) => self.call(callback, context, parameters),
            None => Ok(()),
        }
    }

    /// Calls an export in the name of a context.
    pub(crate) fn call<P: WasmParams, R: WasmResults>(
        &mut self,
        callback: &'static str,
        context: u32,
        parameters: P,
    ) -> Result<R, HostError> {
        self.envoy_mut().effective = context;
        let export = self
            .instance
            .get_typed_func::<P, R>(&mut self.store, callback)
            .map_err(HostError::Abi)?;
        export
            .call(&mut self.store, parameters)
            .map_err(|source| HostError::Trap { callback, source })
    }

    pub(crate) fn stream(&mut self, context: u32) -> &mut Stream {
        self.envoy_mut().streams.entry(context).or_default()
    }

    pub(crate) fn set_unix_seconds(&mut self, seconds: u64) {
        self.envoy_mut().nanoseconds = seconds.saturating_mul(1_000_000_000);
    }

    pub(crate) fn set_http_cluster(&mut self, cluster: &str) {
        self.envoy_mut().http_cluster = Some(cluster.into());
    }

    /// The newest request in the name of a stream, or of the root context.
    pub(crate) fn posted(&self, stream: Option<u32>) -> Vec<u8> {
        self.store.data().posted.get(&stream.unwrap_or(self.root)).cloned().unwrap_or_default()
    }

    pub(crate) fn logs(&self) -> &[LogLine] {
        &self.store.data().logs
    }

    pub(crate) fn metric(&self, name: &str) -> Option<u64> {
        self.store.data().metrics.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    fn envoy_mut(&mut self) -> &mut Envoy {
        self.store.data_mut()
    }
}
