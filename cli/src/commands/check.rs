//! `signet policy check`

use std::process::ExitCode;

use miette::Report;
use serde_json::{Value, json};
use signet_policy_document::{PolicyDocument, Warning, Witness};

use crate::OutputArguments;
use crate::decision::Decision;
use crate::error::{Error, fault_as_json};
use crate::filters::{FilterArguments, Filters};
use crate::input::PolicyArgument;
use crate::output::{Format, print, print_json, success_if, tell};

/// Tell every fault of a policy, or how many rules and workloads it has.
///
/// All faults are told at once, each with its place, what was found, what would be accepted, and a
/// likely repair. Warnings tell what can be read and can't be meant, such as rules that never decide,
/// each, where that can be, with requests or connections that show it and that the filters themselves
/// have decided. Of thousands the first thousand are told. The policy digest is of the policy's meaning: order, spelling and comments don't change it.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  signet policy check policy.yaml
  git show HEAD~1:policy.yaml | signet policy check -
  signet policy check policy.yaml -o json | jq -r .policy_digest

Exit codes: 0 no faults, 1 faults; with --deny-warnings 1 also for warnings")]
pub(crate) struct Arguments {
    #[command(flatten)]
    policy: PolicyArgument,
    /// Fail if there are warnings
    #[arg(long)]
    deny_warnings: bool,
    #[command(flatten)]
    filters: FilterArguments,
    #[command(flatten)]
    output: OutputArguments,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match check(arguments) {
        Ok(code) => code,
        Err(error) => error.report(arguments.output.output, 1),
    }
}

/// Most warnings that are told: who meets more sees in the first what is wrong with all.
const MOST_TOLD: usize = 1000;

fn check(arguments: &Arguments) -> Result<ExitCode, Error> {
    let document = arguments.policy.read()?;
    let mut found = document.warnings();
    let count = found.len();
    found.truncate(MOST_TOLD);
    let warnings = replayed(arguments, document, found)?;
    let (rules, workloads) = (document.rule_count(), document.workloads().count());
    let digest = document.digest();
    match arguments.output.output {
        Format::Text => {
            for Shown { warning, decisions } in &warnings {
                let mut fault = warning.fault.clone();
                for (i, (witness, decision)) in warning.witnesses.iter().zip(decisions).enumerate()
                {
                    let word = if i == 0 { "for example" } else { "and" };
                    let when = if witness.shadow { ", if shadow rules were enforced" } else { "" };
                    let title = &witness.case.title;
                    fault.help = format!("{}\n{word} {title}: {decision}{when}", fault.help);
                }
                tell(format_args!("{:?}", Report::new(document.show(fault).as_warning())));
            }
            let name = arguments.policy.name();
            let (rules, workloads) = (counted(rules, "rule"), counted(workloads, "workload"));
            let told = match counted(count, "warning") {
                _ if count == 0 => String::new(),
                all if count > MOST_TOLD => format!(", {all} ({MOST_TOLD} of them told)"),
                all => format!(", {all}"),
            };
            print(&format!("{name}: {rules}, {workloads}{told}, policy digest {digest}\n"));
        }
        Format::Json => print_json(&json!({
            "rules": rules,
            "workloads": workloads,
            "tests": document.tests().len(),
            "policy_digest": digest,
            "faults": [],
            "warning_count": count,
            "warnings": warnings.iter().map(|shown| shown.to_json(document)).collect::<Vec<_>>(),
        })),
    }
    Ok(success_if(count == 0 || !arguments.deny_warnings))
}

/// So many of something.
fn counted(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

/// A warning, and what the filters decided about its witnesses; nothing without the filters.
struct Shown {
    warning: Warning,
    decisions: Vec<Decision>,
}

impl Shown {
    fn to_json(&self, document: &PolicyDocument) -> Value {
        let fault = &self.warning.fault;
        let located = document.show(fault.clone());
        let witness = |(witness, decision): (&Witness, &Decision)| {
            json!({
                "case": witness.case.title,
                "decision": decision.verdict.as_str(),
                "rule": decision.rule,
                "role": decision.role.name(),
                "with_shadow_rules": witness.shadow,
            })
        };
        let witnesses = self.warning.witnesses.iter().zip(&self.decisions);
        let mut told = fault_as_json(fault, located.position());
        told["witnesses"] = witnesses.map(witness).collect();
        told
    }
}

/// Warnings of a policy, each witness decided by the filter before it is shown. Without the filters
/// there are warnings, and no witnesses.
fn replayed(
    arguments: &Arguments,
    document: &PolicyDocument,
    warnings: Vec<Warning>,
) -> Result<Vec<Shown>, Error> {
    let shows =
        |shadow| move |warning: &Warning| warning.witnesses.iter().any(|w| w.shadow == shadow);
    // Both cost more than all the rest where there are many rules and no warnings.
    let enforced = warnings.iter().any(shows(true)).then(|| document.with_shadow_enforced());
    let of = |document| Filters::new(&arguments.filters, document);
    let mut shadow_filters = enforced.as_ref().map(of);
    let mut filters = warnings.iter().any(shows(false)).then(|| of(document));
    let mut shown = Vec::new();
    let mut missing = None;
    for warning in warnings {
        let mut decisions = Vec::new();
        for witness in &warning.witnesses {
            let filters = if witness.shadow { &mut shadow_filters } else { &mut filters };
            let Some(filters) = filters.as_mut() else { continue };
            match filters.decide(&witness.case) {
                Err(error @ Error::NoFilter { .. }) => {
                    missing = Some(error);
                    // The others show nothing alone.
                    decisions.clear();
                    break;
                }
                decision => decisions.push(must_show(&warning, witness, decision?)?),
            }
        }
        shown.push(Shown { warning, decisions });
    }
    if let Some(error) = missing {
        tell(format_args!("note: warnings have no examples: {error}"));
    }
    Ok(shown)
}

/// A witness that doesn't show its warning is a fault of this program.
fn must_show(warning: &Warning, witness: &Witness, decision: Decision) -> Result<Decision, Error> {
    if witness.case.expect.as_ref().is_some_and(|expected| decision.fits(expected)) {
        return Ok(decision);
    }
    let (case, fault) = (&witness.case.title, &warning.fault);
    Err(Error::Contradiction(format!(
        "it decided `{decision}` about {case}, which was to show that {fault}"
    )))
}
