//! Why a case is decided as it is, in words that someone on call understands.
//!
//! Nothing here matches patterns: each clause of a rule is put alone into a policy of one rule, and
//! that is asked with the code that the filters are built from.

mod clause;
mod http;
mod postgres;

use std::fmt;

use serde::Serialize;
use signet_policy::RuleName;
use signet_policy_document::{Addressed, Ask, Case, PolicyDocument, Verdict};

use crate::decision::Decision;
use crate::error::Error;
use clause::Clause;

/// Why a case is decided as it is.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    #[serde(skip)]
    verdict: Verdict,
    #[serde(skip)]
    decided_by: Option<String>,
    #[serde(skip)]
    role: Option<String>,
    /// What happened, in one sentence.
    summary: String,
    /// The rule that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<RuleText>,
    /// The rule that came nearest, where none decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    nearest: Option<RuleText>,
    /// What would be decided with the shadow rules enforced, where that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow: Option<String>,
}

/// One rule, and how it fits the case.
#[derive(Debug, Serialize)]
struct RuleText {
    name: String,
    file: String,
    line: usize,
    /// Its clauses that fit the case.
    holds: Vec<Clause>,
    /// Its clauses that don't.
    fails: Vec<Clause>,
}

impl RuleText {
    fn new<R>(
        document: &PolicyDocument,
        rule: &Addressed<R>,
        name: &RuleName,
        clauses: Vec<Clause>,
    ) -> Self {
        let (file, line) = document.position(&rule.place);
        let (holds, fails) = clauses.into_iter().partition(|clause| clause.holds);
        Self { name: name.to_string(), file: file.to_owned(), line, holds, fails }
    }
}

/// Explains a case.
pub(crate) fn explain(document: &PolicyDocument, case: &Case) -> Result<Explanation, Error> {
    match &case.ask {
        Ask::Http(ask) => http::explain(document, case, ask),
        Ask::Postgres(ask) => postgres::explain(document, case, ask),
    }
}

impl Explanation {
    /// An explanation that doesn't fit what the filter decided is worth nothing.
    pub(crate) fn must_fit(&self, decision: &Decision) -> Result<(), Error> {
        let found = (self.verdict, self.decided_by.as_deref(), self.role.as_deref());
        let expected = (decision.verdict, decision.rule.as_deref(), decision.role.name());
        if found == expected {
            return Ok(());
        }
        Err(Error::Contradiction(format!(
            "it decided `{decision}`, and this program explains `{}`",
            self.verdict
        )))
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  why      {}", self.summary)?;
        for (word, rule) in [("rule", &self.rule), ("nearest", &self.nearest)] {
            let Some(rule) = rule else { continue };
            writeln!(f, "  {word:<8} {} ({}:{})", rule.name, rule.file, rule.line)?;
            for clause in &rule.fails {
                writeln!(f, "    ✗ {clause}")?;
            }
            for clause in &rule.holds {
                writeln!(f, "    ✓ {clause}")?;
            }
        }
        match &self.shadow {
            Some(shadow) => writeln!(f, "  shadow   {shadow}"),
            None => Ok(()),
        }
    }
}
