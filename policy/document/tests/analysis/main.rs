//! What the analysis finds out, and how much it does for that.

mod bounds;
mod exact;
mod world;

use std::collections::BTreeSet;

use signet_policy_document::PolicyDocument;

/// The names of the rules that the analysis calls idle.
fn idle(document: &PolicyDocument, kinds: &[&str]) -> BTreeSet<String> {
    let warnings = document.warnings();
    let of_kind =
        warnings.iter().filter(|w| kinds.iter().any(|kind| w.fault.message.contains(kind)));
    of_kind.map(|w| w.fault.message.split('`').nth(1).unwrap().to_owned()).collect()
}
