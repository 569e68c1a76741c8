//! Wasm filters that do nothing but call the host, each a step further: what a decision cannot do without.
//!
//! They are written as text, so that nothing but the calls themselves is measured. A call that fails traps.

use anyhow::{Context, Result};

/// How far a filter goes. Each does what those before it do, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Nothing: the floor. It has no more exports than Envoy demands.
    Empty,
    /// Reads the clock, and the peer from filter state.
    Peer,
    /// Reads all headers.
    Headers,
    /// Writes two values for the access log, one of them for the second wall too.
    Log,
    /// Removes a header: Envoy itself adds `x-envoy-external-address`, before any filter can see the request.
    Stripped,
    /// Adds the three that the API is told.
    Told,
}

impl Step {
    /// In order.
    pub(super) const ALL: [Self; 6] =
        [Self::Empty, Self::Peer, Self::Headers, Self::Log, Self::Stripped, Self::Told];

    /// For files and JSON.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Peer => "peer",
            Self::Headers => "headers",
            Self::Log => "log",
            Self::Stripped => "stripped",
            Self::Told => "told",
        }
    }

    /// For people.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Empty => "empty Wasm filter",
            Self::Peer => "… + reads the clock and the peer",
            Self::Headers => "… + reads all headers",
            Self::Log => "… + two values for the access log",
            Self::Stripped => "… + one header removed",
            Self::Told => "… + three headers added",
        }
    }

    /// The calls that this step adds.
    fn calls(self) -> &'static str {
        match self {
            Self::Empty => "",
            Self::Peer => {
                "(call $must (call $now (i32.const 1032)))
                 (call $must (call $property (i32.const 0) (i32.const 24) (i32.const 1024) (i32.const 1028)))"
            }
            Self::Headers => "(call $must (call $pairs (i32.const 0) (i32.const 1024) (i32.const 1028)))",
            Self::Log => {
                "(call $must (call $set_property (i32.const 32) (i32.const 15) (i32.const 128) (i32.const 25)))
                 (call $must (call $set_property (i32.const 64) (i32.const 11) (i32.const 160) (i32.const 11)))"
            }
            Self::Stripped => "(call $must (call $remove (i32.const 0) (i32.const 96) (i32.const 24)))",
            Self::Told => {
                "(call $must (call $add (i32.const 0) (i32.const 192) (i32.const 11) (i32.const 240) (i32.const 43)))
                 (call $must (call $add (i32.const 0) (i32.const 208) (i32.const 9) (i32.const 137) (i32.const 16)))
                 (call $must (call $add (i32.const 0) (i32.const 224) (i32.const 13) (i32.const 160) (i32.const 11)))"
            }
        }
    }

    /// How often it calls the host.
    pub(super) fn host_calls(self) -> usize {
        self.text().matches("(call $must (call").count()
    }

    /// The module.
    pub(super) fn module(self) -> Result<Vec<u8>> {
        wat::parse_str(self.text()).with_context(|| format!("step {self:?} is no WebAssembly"))
    }

    fn text(self) -> String {
        let calls: Vec<&str> =
            Self::ALL.into_iter().filter(|step| *step <= self).map(Self::calls).collect();
        // What the host hands over always lands at 4096: nothing here reads it.
        format!(
            r#"
            (module
              (import "env" "proxy_get_current_time_nanoseconds" (func $now (param i32) (result i32)))
              (import "env" "proxy_get_property" (func $property (param i32 i32 i32 i32) (result i32)))
              (import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
              (import "env" "proxy_set_property" (func $set_property (param i32 i32 i32 i32) (result i32)))
              (import "env" "proxy_remove_header_map_value" (func $remove (param i32 i32 i32) (result i32)))
              (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
              (memory (export "memory") 2)
              (data (i32.const 0) "filter_state\00signet.peer")
              (data (i32.const 32) "signet.decision")
              (data (i32.const 64) "signet.rule")
              (data (i32.const 96) "x-envoy-external-address")
              (data (i32.const 128) "allow as customers_reader")
              (data (i32.const 160) "rule-000001")
              (data (i32.const 192) "x-spiffe-id")
              (data (i32.const 208) "x-db-role")
              (data (i32.const 224) "x-signet-rule")
              (data (i32.const 240) "spiffe://example.org/ns/client-ns/sa/client")
              (func $must (param $status i32) (if (local.get $status) (then unreachable)))
              (func (export "proxy_abi_version_0_2_1"))
              (func (export "proxy_on_memory_allocate") (param i32) (result i32) i32.const 4096)
              (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                {}
                i32.const 0))
            "#,
            calls.join("\n")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Step;

    #[test]
    fn every_step_is_a_module_and_calls_more_than_the_one_before() {
        assert_eq!(Step::ALL.map(Step::host_calls), [0, 2, 3, 5, 6, 9]);
        for step in Step::ALL {
            step.module().unwrap();
        }
    }
}
