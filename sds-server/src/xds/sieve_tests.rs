//! Real requests, mutated ones, and the decoder that sees all.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::service::discovery::v3 as full;
use envoy_types::pb::google::{protobuf, rpc};
use prost::Message;

use super::{DELTA, Fault, STATE, Sieve};
use crate::xds::wire::{DeltaDiscoveryRequest, DiscoveryRequest};

fn node() -> core::Node {
    let extension = |number| core::Extension {
        name: format!("envoy.filters.{number}"),
        category: "envoy.filters".into(),
        ..Default::default()
    };
    let flag = protobuf::Value { kind: Some(protobuf::value::Kind::BoolValue(true)) };
    core::Node {
        id: "sidecar".into(),
        cluster: "api".into(),
        metadata: Some(protobuf::Struct { fields: HashMap::from([("flag".into(), flag)]) }),
        user_agent_name: "envoy".into(),
        extensions: (0..516).map(extension).collect(),
        client_features: vec!["a".into(); 3],
        ..Default::default()
    }
}

fn error() -> rpc::Status {
    let details = vec![protobuf::Any { type_url: "t".into(), value: vec![7; 300] }];
    rpc::Status { code: 13, message: "bad".into(), details }
}

fn requests() -> [Vec<u8>; 2] {
    let state = full::DiscoveryRequest {
        version_info: "v".into(),
        node: Some(node()),
        resource_names: vec!["default".into(), "é".repeat(100)],
        type_url: "t".into(),
        response_nonce: "7".into(),
        error_detail: Some(error()),
        resource_locators: vec![full::ResourceLocator::default()],
    };
    let delta = full::DeltaDiscoveryRequest {
        node: Some(node()),
        type_url: "t".into(),
        resource_names_subscribe: vec!["default".into()],
        resource_names_unsubscribe: vec!["ROOTCA".into()],
        initial_resource_versions: [("ALL".to_owned(), "v".to_owned())].into(),
        response_nonce: "7".into(),
        error_detail: Some(error()),
        ..Default::default()
    };
    [state.encode_to_vec(), delta.encode_to_vec()]
}

fn sifted(mut sieve: Sieve, pieces: &[&[u8]]) -> Result<Vec<u8>, Fault> {
    for piece in pieces {
        sieve.read(piece)?;
    }
    sieve.finish()
}

#[test]
fn what_is_kept_means_the_same_however_it_comes() {
    let [state, delta] = requests();
    let whole = DiscoveryRequest::decode(&*state).expect("valid");
    let whole_delta = DeltaDiscoveryRequest::decode(&*delta).expect("valid");
    for split in (0..state.len()).step_by(97).chain(state.len() - 40..state.len()) {
        let (head, tail) = state.split_at(split);
        let kept = sifted(Sieve::new(STATE), &[head, tail]).expect("valid");
        assert!(kept.len() < 1000, "{} bytes", kept.len());
        assert_eq!(DiscoveryRequest::decode(&*kept), Ok(whole.clone()));
    }
    let bytes: Vec<&[u8]> = delta.chunks(1).collect();
    let kept = sifted(Sieve::new(DELTA), &bytes).expect("valid");
    assert_eq!(DeltaDiscoveryRequest::decode(&*kept), Ok(whole_delta));
}

#[test]
fn a_later_node_of_a_stream_is_passed_over() {
    let [state, _] = requests();
    let mut sieve = Sieve::new(STATE);
    for has_node in [true, false, false] {
        sieve.read(&state).expect("valid");
        let kept = sieve.finish().expect("whole");
        let request = DiscoveryRequest::decode(&*kept).expect("valid");
        assert_eq!((request.node.is_some(), request.response_nonce.as_str()), (has_node, "7"));
    }
}

#[test]
fn a_fault_says_what_was_found() {
    for (bytes, fault) in [
        (&[0xff; 11][..], Fault::Varint),
        (b"\x00", Fault::Number(0)),
        (b"\xff\xff\xff\xff\xff\x01", Fault::Number(8_589_934_591)),
        (b"\x53", Fault::WireType(3)),
        (b"\x57", Fault::WireType(7)),
        (b"\x08\x01", Fault::NoLength { number: 1 }),
        (b"\x12\x02\x0a\x05", Fault::TooLong { found: 5, left: 0 }),
        (b"\x12\x02\x49\x05\x05", Fault::CutOff),
        (b"\x12\x02\x0a", Fault::CutOff),
        (b"\x0a\x05ab", Fault::CutOff),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01ab", Fault::CutOff),
        (b"\x80", Fault::CutOff),
    ] {
        assert_eq!(sifted(Sieve::new(STATE), &[bytes]), Err(fault), "{bytes:?}");
    }
}

/// Against the decoder that sees all, with mutations of real requests, in pieces: the same is refused and
/// the same is read. Groups alone are refused here and passed over there.
#[test]
fn it_agrees_with_the_decoder_of_whole_messages() {
    let mut random = fastrand::Rng::with_seed(61_440);
    let (mut read, mut refused) = (0, 0);
    for case in 0..20_000 {
        let mut state = small_request(&mut random);
        for _ in 0..random.usize(..4) {
            let position = random.usize(..state.len());
            match random.u8(..3) {
                0 => state[position] = random.u8(..),
                1 => drop(state.remove(position)),
                _ => state.insert(position, random.u8(..)),
            }
        }
        let cut = random.usize(..=state.len());
        let (head, tail) = state.split_at(cut);
        let expected = DiscoveryRequest::decode(&*state);
        match sifted(Sieve::new(STATE), &[head, tail]) {
            Err(Fault::WireType(3 | 4)) => {}
            Err(fault) => {
                assert!(expected.is_err(), "case {case}: {fault}: {state:?}");
                refused += 1;
            }
            Ok(kept) => {
                let found = DiscoveryRequest::decode(&*kept);
                assert_eq!(found.ok(), expected.ok(), "case {case}: {state:?}");
                read += 1;
            }
        }
    }
    assert!(read > 2_000 && refused > 2_000, "{read} read, {refused} refused");
}

fn small_request(random: &mut fastrand::Rng) -> Vec<u8> {
    let node = core::Node { extensions: vec![core::Extension::default(); 2], ..node() };
    let names = (0..random.usize(..4)).map(|number| format!("name-{number}")).collect();
    let request = full::DiscoveryRequest {
        version_info: "v".into(),
        node: random.bool().then_some(node),
        resource_names: names,
        response_nonce: "7".into(),
        ..Default::default()
    };
    request.encode_to_vec()
}
