//! The floor: a Wasm filter that does nothing, with no more exports than Envoy demands.

use anyhow::{Context, Result};

/// `proxy_on_request_headers` answers Continue; without it Envoy would not enter the VM at all.
const TEXT: &str = r#"
(module
  (memory (export "memory") 1)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) i32.const 0)
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) i32.const 0))
"#;

/// The module.
pub(super) fn module() -> Result<Vec<u8>> {
    wat::parse_str(TEXT).context("the empty filter's text is not WebAssembly")
}
