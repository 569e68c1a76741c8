//! Policy slices as the configurations of Envoy's Wasm filters.

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::{
    AsyncDataSource, DataSource, TypedExtensionConfig, async_data_source, data_source,
};
use envoy_types::pb::envoy::extensions::filters::{
    http::wasm::v3 as http, network::wasm::v3 as network,
};
use envoy_types::pb::envoy::extensions::wasm::v3::{
    FailurePolicy, PluginConfig, VmConfig, plugin_config,
};
use envoy_types::pb::google::protobuf::{Any, StringValue};
use prost::{Message, Name};

use super::resource::{Content, Kind, Resource};
use crate::policy::{FilterConfiguration, FilterKind};

/// The filter's configuration as an ECDS resource of that name.
pub(super) fn extension(filter: &FilterConfiguration, name: String) -> Resource {
    let config = Some(plugin(filter, &name));
    let (type_url, value) = match filter.kind {
        FilterKind::Http => (http::Wasm::type_url(), http::Wasm { config }.encode_to_vec()),
        FilterKind::Postgres => {
            (network::Wasm::type_url(), network::Wasm { config }.encode_to_vec())
        }
    };
    let extension =
        TypedExtensionConfig { name: name.clone(), typed_config: Some(Any { type_url, value }) };
    Resource::encode(Kind::Extension, Content::Filter, name, &extension)
        .of_policy(Arc::clone(&filter.digest))
}

/// The resource's name is its `vm_id`: one through all generations, so that a new slice finds what
/// the old one left in shared data, and another for another workload's slice, so that two listeners
/// of one Envoy share nothing. A trapped VM is loaded anew, and until then nothing passes.
fn plugin(filter: &FilterConfiguration, name: &str) -> PluginConfig {
    let code = DataSource {
        specifier: Some(data_source::Specifier::Filename(filter.wasm.display().to_string())),
        ..Default::default()
    };
    let configuration = StringValue { value: filter.slice.clone() };
    PluginConfig {
        name: name.into(),
        vm: Some(plugin_config::Vm::VmConfig(VmConfig {
            vm_id: name.into(),
            runtime: "envoy.wasm.runtime.v8".into(),
            code: Some(AsyncDataSource {
                specifier: Some(async_data_source::Specifier::Local(code)),
            }),
            ..Default::default()
        })),
        configuration: Some(Any {
            type_url: StringValue::type_url(),
            value: configuration.encode_to_vec(),
        }),
        failure_policy: FailurePolicy::FailReload.into(),
        ..Default::default()
    }
}
