//! The benches work: every case answers as it must, and all figures are written. Not how fast.

use std::{collections::BTreeSet, process::Command};

use serde_json::Value;
use tempfile::TempDir;

/// What a bench wrote in its smallest run.
struct Smoke {
    directory: TempDir,
    figures: Value,
}

impl Smoke {
    fn of(bench: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_bench"))
            .args([bench, "--smoke", "--results"])
            .arg(directory.path())
            .arg("--docs")
            .arg(directory.path())
            .output()
            .unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{complaint}");
        let figures = std::fs::read(directory.path().join(format!("{bench}.json"))).unwrap();
        Self { figures: serde_json::from_slice(&figures).unwrap(), directory }
    }

    fn written(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(name)).unwrap()
    }
}

#[test]
fn every_case_of_the_policy_bench_answers_right_and_is_written_down() {
    let smoke = Smoke::of("policy");
    let figures = &smoke.figures;
    let cases = figures["cases"].as_array().unwrap();
    let keys: Vec<&str> = cases.iter().map(|case| case["case"].as_str().unwrap()).collect();
    assert_eq!(
        keys,
        [
            "no-filter",
            "ours-1",
            "ours-100",
            "ours-1000",
            "ours-10000",
            "ours-100000",
            "ours-paths-100000",
            "rbac-list-1",
            "rbac-list-100",
            "rbac-list-1000",
            "rbac-tree-1",
            "rbac-tree-1000",
            "rbac-tree-10000",
            "rbac-tree-headers-1000",
            "rbac-tree-headers-10000",
            "lua",
            "wasm-empty",
            "wasm-peer",
            "wasm-headers",
            "wasm-log",
            "wasm-stripped",
            "wasm-told",
        ]
    );
    for case in cases {
        for figure in ["requests_per_second", "p50_us", "p99_us", "cpu_us_per_request"] {
            assert!(case["median"][figure].as_f64().unwrap() > 0.0, "{figure} of {case}");
        }
        assert_eq!(case["rounds"].as_array().unwrap().len(), 1);
        let key = case["case"].as_str().unwrap();
        let is_wasm = key.starts_with("ours-") || key.starts_with("wasm-");
        assert_eq!(case["wasm"].is_object(), is_wasm, "{case}");
        if is_wasm {
            assert!(case["wasm"]["compiled_ms"].as_f64().unwrap() > 0.0, "{case}");
            assert!(case["wasm"]["vm_memory_kib"].as_f64().unwrap() >= 64.0, "{case}");
        }
    }
    let rows = figures["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 25 + 5);
    for row in rows {
        assert!(row["ours"].as_f64().is_some() && row["met"].is_boolean(), "{row}");
        assert_eq!(row["ratio"].is_null(), row["peer"].is_null(), "{row}");
        assert!(row["case"].is_string() && row["aim"].is_string(), "{row}");
    }
    for key in ["machine", "versions", "commit", "method", "others"] {
        assert!(!figures[key].is_null(), "{key}");
    }
    let commands = figures["commands"].as_array().unwrap();
    let keys: Vec<&str> = commands.iter().map(|case| case["case"].as_str().unwrap()).collect();
    let known = [
        "signet-check",
        "signet-diff",
        "signet-who",
        "signet-decide",
        "signet-batch",
        "signet-compile",
    ];
    assert_eq!(keys, known);
    for command in commands {
        assert!(command["median"]["cpu_ms"].as_f64().unwrap() > 0.0, "{command}");
    }
    assert!(smoke.written("policy.md").contains("| no filter |"));
    assert!(smoke.written("policy.md").contains("| signet policy check, 10,000 rules |"));
    assert!(smoke.written("policy.svg").ends_with("</svg>\n"));
}

#[test]
fn every_case_of_the_sds_bench_is_served_and_is_written_down() {
    let smoke = Smoke::of("sds");
    let figures = &smoke.figures;
    let cases = figures["cases"].as_array().unwrap();
    let keys: Vec<&str> = cases.iter().map(|case| case["case"].as_str().unwrap()).collect();
    assert_eq!(
        keys,
        ["spire-node-3", "ours-node-3", "minimal-node-3", "slim-node-3", "ours-bare-20"]
    );
    for case in cases {
        for figure in ["first_secret_ms", "cpu_ms", "first_to_last_ms", "rss_end_mib", "storm_ms"] {
            assert!(case["median"][figure].as_f64().unwrap() > 0.0, "{figure} of {case}");
        }
        let streams = case["streams"].as_u64().unwrap();
        let round = &case["rounds"][0];
        assert!(round["pushes"][0]["responses"].as_u64().unwrap() >= streams, "{case}");
        assert!(round["trouble"].is_null() && case["failures"] == 0, "{case}");
    }
    // Recorded from a real Envoy: some hundred extensions, each by name.
    assert!(figures["method"]["node_bytes"].as_u64().unwrap() > 30_000);
    for key in ["machine", "versions", "commit", "others", "rows"] {
        assert!(!figures[key].is_null(), "{key}");
    }
    assert!(smoke.written("sds.md").contains("| 3 streams, Envoy's node | sds-server |"));
    assert!(smoke.written("sds.svg").ends_with("</svg>\n"));
}

#[test]
fn every_case_of_the_postgres_bench_reaches_postgres_and_is_written_down() {
    let smoke = Smoke::of("postgres");
    let figures = &smoke.figures;
    let cases = figures["cases"].as_array().unwrap();
    let loads: BTreeSet<&str> = cases.iter().map(|case| case["load"].as_str().unwrap()).collect();
    let routes: BTreeSet<&str> = cases.iter().map(|case| case["route"].as_str().unwrap()).collect();
    // Nine ways under each load, and six settings under two.
    assert_eq!((cases.len(), loads.len()), (8 * 9 + 2 * 6, 8));
    let known = [
        "envoys",
        "envoys-empty",
        "envoys-waiting",
        "password",
        "pg-role",
        "pg-role-1-mib",
        "pg-role-16-kib",
        "pg-role-balanced",
        "pg-role-loopback",
        "pg-role-one-worker",
        "pg-role-p-256",
        "pg-role-unlogged",
        "pgbouncer",
        "tcp",
        "tls",
    ];
    assert!(routes.iter().eq(&known), "{routes:?}");
    for case in cases {
        for figure in ["tps", "mean_ms", "p50_ms", "p99_ms"] {
            assert!(case["median"][figure].as_f64().unwrap() > 0.0, "{figure} of {case}");
        }
        let is_direct = ["tcp", "password", "tls"].contains(&case["route"].as_str().unwrap());
        let spent = case["median"]["proxy_cpu_us_per_transaction"].as_f64();
        assert_eq!(spent.is_none_or(|spent| spent <= 0.0), is_direct, "{case}");
        assert_eq!(case["turns"].as_array().unwrap().len(), 1);
    }
    let rows = figures["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 6);
    for row in rows {
        assert!(row["ratio"].as_f64().is_some() && row["met"].is_boolean(), "{row}");
    }
    for key in ["machine", "versions", "commit", "method", "others"] {
        assert!(!figures[key].is_null(), "{key}");
    }
    assert!(smoke.written("postgres.md").contains("| two Envoys, pg-role |"));
    assert!(smoke.written("postgres.svg").ends_with("</svg>\n"));
}
