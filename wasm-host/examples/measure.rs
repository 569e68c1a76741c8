//! Prints how long `spiffe_authz.wasm` takes to load a policy, by its number of rules, and how large its memory gets.
//!
//!     cargo run --release -p wasm-host --example measure -- target/wasm32-unknown-unknown/filters/spiffe_authz.wasm

use std::path::PathBuf;
use std::time::Instant;

use wasm_host::{FilterModule, HttpFilter, HttpOutcome, HttpRequest};

fn slice(rules: usize) -> String {
    let rule = |i: usize| {
        format!(
            r#"{{"name":"rule-{i}","from":["spiffe://example.org/ns/team-{}/sa/service-{i}"],"methods":["GET"],"paths":["/v1/things/{i}"],"db_role":"role_{i}"}}"#,
            i % 100
        )
    };
    let rules: Vec<String> = (0..rules).map(rule).collect();
    format!(r#"{{"format":1,"workload":"spiffe://example.org/w","http":[{}]}}"#, rules.join(","))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let module = std::env::args_os().nth(1).map(PathBuf::from).ok_or("name the module")?;
    let module = FilterModule::load(&module)?;
    println!("{:>7} {:>9} {:>9} {:>12}", "rules", "slice KB", "load ms", "exchange µs");
    for rules in [1, 100, 1_000, 10_000, 100_000] {
        let json = slice(rules);
        let start = Instant::now();
        let mut filter = HttpFilter::start(&module, json.as_bytes())?;
        let loaded = start.elapsed();
        let text = |pair: (&str, &str)| (pair.0.as_bytes().to_vec(), pair.1.as_bytes().to_vec());
        let request = HttpRequest {
            peer: Some(format!("{}|spiffe://example.org/ns/team-0/sa/service-0", u64::MAX).into()),
            headers: [(":method", "GET"), (":path", "/v1/things/0"), (":authority", "api")]
                .map(text)
                .to_vec(),
            ..HttpRequest::default()
        };
        let start = Instant::now();
        for _ in 0..1_000 {
            let exchange = filter.exchange(&request)?;
            assert!(matches!(exchange.outcome, HttpOutcome::Forwarded { .. }));
        }
        println!(
            "{rules:>7} {:>9} {:>9.2} {:>12.1}",
            json.len() / 1024,
            loaded.as_secs_f64() * 1e3,
            start.elapsed().as_secs_f64() * 1e3,
        );
    }
    Ok(())
}
