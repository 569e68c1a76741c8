//! The decision, where access logs and the second wall find it.

use std::cell::RefCell;

use host_calls::{HostError, set_wasm_property};
use signet_policy::HttpDecision;

/// What the second wall looks for, and what follows it where the rule has a role.
const ALLOW_AS: &str = "allow as ";

/// Writes decisions, with the text of the last one at hand: the next has the same memory, and mostly the same role.
#[derive(Debug, Default)]
pub(crate) struct Noted(RefCell<String>);

impl Noted {
    /// Each value costs half a microsecond, so an allow writes two: its rule, and the role with the verdict (`allow as
    /// ROLE`). The role that a log takes from the header instead would be the client's own word wherever Envoy answers
    /// before this filter has run.
    pub(crate) fn note(&self, decision: &HttpDecision<'_>) -> Result<(), HostError> {
        match decision {
            HttpDecision::Allow { db_role: Some(role), .. } => {
                let mut text = self.0.take();
                text.clear();
                text.push_str(ALLOW_AS);
                text.push_str(role);
                set_wasm_property("signet.decision", &text)?;
                self.0.replace(text);
            }
            HttpDecision::Allow { .. } => set_wasm_property("signet.decision", decision.verdict())?,
            HttpDecision::Deny(_) | HttpDecision::Refuse(_) => {
                set_wasm_property("signet.decision", decision.verdict())?;
                set_wasm_property("signet.reason", decision.reason())?;
            }
        }
        match decision.rule() {
            Some(rule) => set_wasm_property("signet.rule", rule),
            None => Ok(()),
        }
    }
}
