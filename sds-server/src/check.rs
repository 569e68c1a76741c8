//! Looks at everything that a configuration names, without serving.

use crate::config::Config;
use crate::policy::{CodeCheck, read_document};

/// What was found.
#[derive(Debug, Default)]
pub struct Findings {
    /// What is wrong.
    pub faults: Vec<String>,
    /// What cannot be seen from here: it may lie in another container, or come later.
    pub unseen: Vec<String>,
}

/// Looks at the files that `config` names.
pub fn look(config: &Config) -> Findings {
    let mut findings = Findings::default();
    if let Some(policy) = &config.policy
        && let Err(fault) = read_document(&policy.file)
    {
        findings.faults.push(fault.report());
    }
    for (_, filter) in config.filters.by_kind() {
        match CodeCheck::of(filter) {
            CodeCheck::Matches => {}
            CodeCheck::Differs(fault) => findings.faults.push(fault),
            CodeCheck::Unseen(remark) => findings.unseen.push(remark),
        }
    }
    findings
}
