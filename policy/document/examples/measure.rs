//! Prints what reading policies and checking them cost.
//!
//!     cargo run --release -p signet-policy-document --example measure POLICY.yaml…

use std::time::Instant;

use signet_policy_document::PolicyDocument;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for path in std::env::args().skip(1) {
        let text = std::fs::read_to_string(&path)?;
        let started = Instant::now();
        let document = PolicyDocument::parse(&path, &text)?;
        let read = started.elapsed();
        let started = Instant::now();
        let warnings = document.warnings().len();
        let checked = started.elapsed();
        let started = Instant::now();
        let digest = document.digest();
        let (rules, hashed) = (document.rule_count(), started.elapsed());
        println!(
            "{path}: {rules} rules read in {read:.1?}, {warnings} warnings in {checked:.1?}, digest {digest:.8} in {hashed:.1?}"
        );
    }
    Ok(())
}
