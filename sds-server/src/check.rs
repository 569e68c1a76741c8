//! Looks at everything that a configuration names, without serving.

use crate::config::Config;
use crate::policy::{CodeCheck, read_document};

/// Every fault of the files that `config` names. Those that cannot be seen from here are no faults:
/// they may lie in another container, or come later.
pub fn faults(config: &Config) -> Vec<String> {
    let mut faults = Vec::new();
    if let Some(policy) = &config.policy
        && let Err(fault) = read_document(&policy.file)
    {
        faults.push(fault.report());
    }
    faults.extend(config.filters.by_kind().filter_map(|(_, filter)| match CodeCheck::of(filter) {
        CodeCheck::Differs(fault) => Some(fault),
        CodeCheck::Matches | CodeCheck::Unseen(_) => None,
    }));
    faults
}
