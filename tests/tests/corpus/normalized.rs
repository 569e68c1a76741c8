//! With normalization on, Envoy rewrites a path before the filter sees it. Whatever is then forwarded must be what the policy
//! allows in the form in which it was forwarded: no bypass, though the API and the command line are asked different things.

use e2e::{
    bootstrap::holders,
    wire::{Answer, Ingress, Protocol},
};
use serde_json::Value;
use wasm_host::HttpFilter;

use crate::{case::Case, envoy, files::Corpus, filter_module, told::Told};

fn switch_on(configuration: &mut Value) {
    holders(configuration, "stat_prefix", &mut |manager| {
        if manager["stat_prefix"] == "ingress" {
            manager["normalize_path"] = true.into();
            manager["merge_slashes"] = true.into();
            manager["path_with_escaped_slashes_action"] = "UNESCAPE_AND_FORWARD".into();
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_normalizing_envoy_forwards_is_allowed_in_that_form() {
    let corpus = Corpus::read("main");
    let ingress = Ingress::start(&corpus.policy, switch_on).await.unwrap();
    let mut filter = HttpFilter::start(&filter_module(), corpus.slice.as_bytes()).unwrap();
    let mut rewritten = 0;
    for protocol in [Protocol::H1, Protocol::H2] {
        for (case, answer) in envoy::answers(&ingress, Some("main"), protocol, corpus.cases()).await
        {
            let Answer::Forwarded(seen) = &answer else { continue };
            let told = Told::by_envoy(&answer);
            let forwarded = Case {
                method: seen.method.clone(),
                path: Some(seen.target.clone()),
                ..case.clone()
            };
            rewritten += usize::from(forwarded.path != case.path);
            let again = Told::by_wasmtime(&mut filter, &forwarded);
            assert_eq!(again, told, "{} became {}", case.write(), forwarded.write());
        }
    }
    // Else the switches are not on, and this shows nothing.
    assert!(rewritten > 100, "{rewritten} paths were rewritten");
}
