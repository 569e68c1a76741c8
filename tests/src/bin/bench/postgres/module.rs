//! Network filters in Wasm that decide nothing: what any filter would cost.
//!
//! They are written as text, so that nothing but the calls themselves is measured.

use anyhow::{Context, Result};

/// How far a filter goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Is called for all that ours is called for, and lets it pass at once.
    Empty,
    /// Lets nothing begin until the client has spoken, as whoever decides by its words must. Only then does Envoy connect to
    /// Postgres; without this it does so while the TLS handshake is still under way.
    Waiting,
}

impl Step {
    /// In order.
    pub(super) const ALL: [Self; 2] = [Self::Empty, Self::Waiting];

    /// For files.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Waiting => "waiting",
        }
    }

    /// The module.
    pub(super) fn module(self) -> Result<Vec<u8>> {
        wat::parse_str(self.text()).with_context(|| format!("step {self:?} is no WebAssembly"))
    }

    fn text(self) -> String {
        let (at_connection, at_bytes) = match self {
            Self::Empty => ("i32.const 0", "i32.const 0"),
            // Pause, then let the bytes go on.
            Self::Waiting => {
                ("i32.const 1", "(if (call $resume (i32.const 2)) (then unreachable)) i32.const 1")
            }
        };
        format!(
            r#"
            (module
              (import "env" "proxy_continue_stream" (func $resume (param i32) (result i32)))
              (memory (export "memory") 2)
              (func (export "proxy_abi_version_0_2_1"))
              (func (export "proxy_on_memory_allocate") (param i32) (result i32) i32.const 4096)
              (func (export "proxy_on_context_create") (param i32 i32))
              (func (export "proxy_on_delete") (param i32))
              (func (export "proxy_on_new_connection") (param i32) (result i32) {at_connection})
              (func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32) {at_bytes})
              (func (export "proxy_on_upstream_data") (param i32 i32 i32) (result i32) i32.const 0))
            "#
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Step;

    #[test]
    fn every_step_is_a_module() {
        for step in Step::ALL {
            step.module().unwrap();
        }
    }
}
