//! The functions by which Envoy calls a filter.
//!
//! A filter implements [`Vm`] and either [`HttpFilter`] or [`NetworkFilter`], and says [`export_http_filter!`] or
//! [`export_network_filter!`] once. Methods take `&self`, as Envoy may call back before a host call has returned.
//!
//! [`export_http_filter!`]: crate::export_http_filter
//! [`export_network_filter!`]: crate::export_network_filter

/// Names a context inside its VM: a root context (a plugin's configuration), a request, or a connection.
pub type ContextId = u32;

/// What Envoy shall do after a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Action {
    /// Go on to the next filter.
    Continue = 0,
    /// Wait until the filter says so.
    Pause = 1,
}

/// All contexts of one Wasm VM.
pub trait Vm: Default {
    /// A root context gets its configuration, of this many bytes. False: Envoy refuses the configuration.
    fn on_configure(&self, root: ContextId, size: usize) -> bool;

    /// The timer of a root context.
    fn on_tick(&self, root: ContextId);
}

/// A filter of HTTP requests. It is not told when a request's context begins and ends, which would cost as much as
/// reading all its headers; so it must keep nothing between two callbacks of a request.
pub trait HttpFilter: Vm {
    /// The request's headers are there.
    fn on_request_headers(&self) -> Action;

    /// The request's trailers are there.
    fn on_request_trailers(&self) -> Action;
}

/// A filter of a connection's bytes.
pub trait NetworkFilter: Vm {
    /// A context begins. A root context has the parent 0, a connection has its root context.
    fn on_context_create(&self, context: ContextId, parent: ContextId);

    /// A context ends; its id may be given anew.
    fn on_delete(&self, context: ContextId);

    /// The client has connected; its TLS handshake may still be under way.
    fn on_new_connection(&self, connection: ContextId) -> Action;

    /// Bytes of the client: the buffer holds `size` in all.
    fn on_downstream_data(&self, connection: ContextId, size: usize, end_of_stream: bool)
    -> Action;

    /// Bytes of the server: the buffer holds `size` in all.
    fn on_upstream_data(&self, connection: ContextId, size: usize, end_of_stream: bool) -> Action;
}

/// Exports the callbacks that both kinds of filter share. Not for use by itself.
#[doc(hidden)]
#[macro_export]
macro_rules! export_vm {
    ($vm:ty) => {
        thread_local! {
            static VM: $vm = <$vm>::default();
        }

        #[doc(hidden)]
        #[allow(unsafe_code)]
        #[unsafe(no_mangle)]
        pub extern "C" fn proxy_abi_version_0_2_1() {}

        $crate::export_callbacks! {
            proxy_on_configure(root: u32, size: usize) -> u32 => |vm| u32::from($crate::Vm::on_configure(vm, root, size));
            proxy_on_tick(root: u32) => |vm| $crate::Vm::on_tick(vm, root);
        }
    };
}

/// Exports callbacks that run on the VM. Not for use by itself.
#[doc(hidden)]
#[macro_export]
macro_rules! export_callbacks {
    ($($name:ident($($argument:ident: $kind:ty),*) $(-> $result:ty)? => |$vm:ident| $body:expr;)*) => {
        $(
            #[doc(hidden)]
            #[allow(unsafe_code)]
            #[unsafe(no_mangle)]
            pub extern "C" fn $name($($argument: $kind),*) $(-> $result)? {
                VM.with(|$vm| $body)
            }
        )*
    };
}

/// Makes a type that implements [`HttpFilter`] the filter of this module.
#[macro_export]
macro_rules! export_http_filter {
    ($vm:ty) => {
        $crate::export_vm!($vm);
        $crate::export_callbacks! {
            proxy_on_request_headers(_request: u32, _count: u32, _end_of_stream: u32) -> u32 =>
                |vm| $crate::HttpFilter::on_request_headers(vm) as u32;
            proxy_on_request_trailers(_request: u32, _count: u32) -> u32 =>
                |vm| $crate::HttpFilter::on_request_trailers(vm) as u32;
        }
    };
}

/// Makes a type that implements [`NetworkFilter`] the filter of this module.
#[macro_export]
macro_rules! export_network_filter {
    ($vm:ty) => {
        $crate::export_vm!($vm);
        $crate::export_callbacks! {
            proxy_on_context_create(context: u32, parent: u32) =>
                |vm| $crate::NetworkFilter::on_context_create(vm, context, parent);
            proxy_on_delete(context: u32) => |vm| $crate::NetworkFilter::on_delete(vm, context);
            proxy_on_new_connection(connection: u32) -> u32 =>
                |vm| $crate::NetworkFilter::on_new_connection(vm, connection) as u32;
            proxy_on_downstream_data(connection: u32, size: usize, end: u32) -> u32 =>
                |vm| $crate::NetworkFilter::on_downstream_data(vm, connection, size, end != 0) as u32;
            proxy_on_upstream_data(connection: u32, size: usize, end: u32) -> u32 =>
                |vm| $crate::NetworkFilter::on_upstream_data(vm, connection, size, end != 0) as u32;
        }
    };
}
