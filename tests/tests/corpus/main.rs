//! The request corpus of `tests/corpus/`: thousands of requests with the decision that the policy's meaning gives them,
//! through the filter in wasmtime, through the command line, and through Envoy, over HTTP/1.1 and HTTP/2.

mod case;
mod cli;
mod envoy;
mod files;
mod generate;
mod native_rbac;
mod normalized;
mod ports;
mod told;
mod trailers;

use std::collections::BTreeMap;

use e2e::{
    Programs,
    wire::{Answer, Ingress, Protocol},
};
use files::Corpus;
use serde_json::Value;
use told::Told;
use wasm_host::{FilterModule, HttpFilter};

/// Set to rewrite what is generated.
const WRITE: &str = "SIGNET_CORPUS_WRITE";

#[test]
fn the_generated_files_are_up_to_date() {
    let mut generated: BTreeMap<String, String> = generate::families()
        .into_iter()
        .map(|family| {
            let lines: Vec<String> = family.cases.iter().map(|case| case.write() + "\n").collect();
            (family.file.to_owned(), lines.concat())
        })
        .collect();
    generated.insert("weight/policy.yaml".to_owned(), generate::weight_policy());
    if std::env::var_os(WRITE).is_some() {
        for (file, text) in &generated {
            files::write(file, text);
        }
    }
    for policy in files::POLICIES {
        let slice = files::compiled(policy);
        if std::env::var_os(WRITE).is_some() {
            files::write(&format!("{policy}/slice.json"), &slice);
        }
        generated.insert(format!("{policy}/slice.json"), slice);
    }
    for (file, text) in &generated {
        assert!(
            *text == files::read(file),
            "tests/corpus/{file} is stale: run this test with {WRITE}=1"
        );
    }
}

#[test]
fn the_corpus_is_large_and_each_case_has_its_own_name() {
    let mut count = 0;
    for policy in files::POLICIES {
        let corpus = Corpus::read(policy);
        let mut names = BTreeMap::<&str, usize>::new();
        corpus.cases().for_each(|case| *names.entry(&case.id).or_default() += 1);
        let repeated: Vec<_> = names.iter().filter(|(_, times)| **times > 1).collect();
        assert!(repeated.is_empty(), "{policy}: {repeated:?}");
        count += corpus.cases().count();
    }
    assert!(count >= 5_000, "{count}");
}

/// The numbers whose tricks were looked up.
const CVES: [&str; 22] = [
    "CVE-2020-25017",
    "CVE-2021-31920",
    "CVE-2021-32779",
    "CVE-2021-39155",
    "CVE-2021-39156",
    "CVE-2022-21654",
    "CVE-2022-21679",
    "CVE-2022-40716",
    "CVE-2023-27487",
    "CVE-2023-27488",
    "CVE-2023-35944",
    "CVE-2024-10005",
    "CVE-2024-10006",
    "CVE-2025-46821",
    "CVE-2025-66220",
    "CVE-2026-26308",
    "CVE-2026-33186",
    "CVE-2026-39350",
    "CVE-2026-73547",
    "CVE-2026-73551",
    "CVE-2026-73552",
    "CVE-2026-73553",
];

#[test]
fn every_known_trick_has_its_line() {
    let text = files::read("cves.jsonl");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let number = |line: &Value| line["id"].as_str().unwrap().to_owned();
    assert_eq!(lines.iter().map(number).collect::<Vec<_>>(), CVES);
    for line in &lines {
        let told = |key: &str| line[key].as_str().is_some_and(|text| !text.is_empty());
        assert!(["product", "trick", "found"].into_iter().all(told), "{line}");
        // The request and its decision: read as any other case.
        assert!(told("expect"), "{line}");
    }
    assert!(files::read("README.md").contains(&format!("All {} numbers", CVES.len())));
}

#[test]
fn the_filter_in_wasmtime_decides_as_the_cases_say() {
    let module = filter_module();
    for policy in files::POLICIES {
        let corpus = Corpus::read(policy);
        let mut filter = HttpFilter::start(&module, corpus.slice.as_bytes()).unwrap();
        let mut wrong = Vec::new();
        for case in corpus.cases() {
            let told = Told::by_wasmtime(&mut filter, case);
            if !told.is(case) {
                wrong.push(format!("{}\n  {told:?}", case.write()));
            }
        }
        assert!(wrong.is_empty(), "{policy}: {} cases:\n{}", wrong.len(), wrong.join("\n"));
    }
}

/// The filter as it is built.
fn filter_module() -> FilterModule {
    let file = Programs::locate().unwrap().filter("spiffe_authz").unwrap();
    FilterModule::load(&file).unwrap()
}

async fn envoy_agrees(policy: &str, protocol: Protocol) {
    let corpus = Corpus::read(policy);
    let ingress = Ingress::start(&corpus.policy, |_| {}).await.unwrap();
    let answers = envoy::answers(&ingress, Some(policy), protocol, corpus.cases()).await;
    assert!(answers.len() > 1_000, "{} cases", answers.len());
    let mut wrong = Vec::new();
    for (case, answer) in answers {
        if let Answer::Forwarded(seen) = &answer {
            // The API learns who called, once, and nothing that the caller made up.
            assert_eq!(
                seen.values("x-spiffe-id"),
                Vec::from_iter(case.from.clone()),
                "{}",
                case.id
            );
            for forged in ["x-envoy-original-path", "x-forwarded-client-cert", "x_db_role"] {
                assert!(seen.values(forged).is_empty(), "{}: {forged}", case.id);
            }
        }
        let told = Told::by_envoy(&answer);
        if !told.agrees(case) {
            wrong.push(format!("{}\n  {told:?}", case.write()));
        }
    }
    assert!(
        wrong.is_empty(),
        "{policy} over {protocol:?}: {} cases:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_agrees_over_http_1() {
    envoy_agrees("main", Protocol::H1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_agrees_over_http_2() {
    envoy_agrees("main", Protocol::H2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_agrees_about_weight() {
    envoy_agrees("weight", Protocol::H1).await;
    envoy_agrees("weight", Protocol::H2).await;
}
