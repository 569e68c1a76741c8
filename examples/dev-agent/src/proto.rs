//! The Workload API's messages and service, generated from `proto/workload.proto`.
#![allow(missing_docs, unreachable_pub, clippy::pedantic)]

include!(concat!(env!("OUT_DIR"), "/_.rs"));
