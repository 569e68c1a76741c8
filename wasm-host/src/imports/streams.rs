//! Properties, buffers, and the flow of a connection.

use wasmtime::{Linker, Result};

use super::{
    BAD_ARGUMENT, Guest, NOT_FOUND, OK,
    memory::{give, read, write},
    metadata, on_stream,
};
use crate::envoy::{Envoy, Stream};

const DOWNSTREAM: u32 = 2;
const UPSTREAM: u32 = 3;
const PLUGIN_CONFIGURATION: u32 = 7;

pub(super) fn link(linker: &mut Linker<Envoy>) -> Result<()> {
    linker.func_wrap(
        "env",
        "proxy_get_property",
        |mut guest: Guest<'_>, path: u32, path_size: u32, data: u32, size: u32| {
            let path = read(&mut guest, path, path_size)?;
            let value = guest.data_mut().stream().map_or(Err(NOT_FOUND), |stream| {
                let plain = || stream.properties.get(&path).cloned().ok_or(NOT_FOUND);
                metadata::property(&stream.metadata, &path).unwrap_or_else(plain)
            });
            value.map_or_else(Ok, |value| give(&mut guest, &value, data, size))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_property",
        |mut guest: Guest<'_>, path: u32, path_size: u32, data: u32, size: u32| {
            let key =
                format!("wasm.{}", String::from_utf8_lossy(&read(&mut guest, path, path_size)?));
            let value = read(&mut guest, data, size)?;
            Ok(on_stream(&mut guest, |stream| stream.filter_state.insert(key, value)))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_call_foreign_function",
        |mut guest: Guest<'_>,
         name: u32,
         name_size: u32,
         data: u32,
         size: u32,
         _results: u32,
         _results_size: u32| {
            let name = read(&mut guest, name, name_size)?;
            let arguments = read(&mut guest, data, size)?;
            if name != b"set_envoy_filter_state" {
                return Ok(NOT_FOUND);
            }
            let Some((key, value)) = filter_state_arguments(&arguments) else {
                return Ok(BAD_ARGUMENT);
            };
            Ok(on_stream(&mut guest, |stream| stream.filter_state.insert(key, value)))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_buffer_bytes",
        |mut guest: Guest<'_>, buffer: u32, start: u32, length: u32, data: u32, size: u32| {
            let envoy = guest.data_mut();
            let bytes = match buffer {
                PLUGIN_CONFIGURATION => Some(envoy.configuration.clone()),
                DOWNSTREAM => envoy.stream().map(|stream| stream.downstream.clone()),
                UPSTREAM => envoy.stream().and_then(|stream| stream.upstream.clone()),
                _ => None,
            };
            let Some(bytes) = bytes else {
                return Ok(NOT_FOUND);
            };
            let start = (start as usize).min(bytes.len());
            let end = start.saturating_add(length as usize).min(bytes.len());
            give(&mut guest, &bytes[start..end], data, size)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_buffer_bytes",
        |mut guest: Guest<'_>, buffer: u32, start: u32, length: u32, data: u32, size: u32| {
            let value = read(&mut guest, data, size)?;
            let Some(stream) = guest.data_mut().stream() else {
                return Ok(BAD_ARGUMENT);
            };
            let bytes = match buffer {
                DOWNSTREAM => Some(&mut stream.downstream),
                UPSTREAM => stream.upstream.as_mut(),
                _ => None,
            };
            let Some(bytes) = bytes else {
                return Ok(BAD_ARGUMENT);
            };
            // Envoy writes at the front or behind the end, nowhere between.
            let start = (start as usize).min(bytes.len());
            if start != 0 && start != bytes.len() {
                return Ok(BAD_ARGUMENT);
            }
            let end = start.saturating_add(length as usize).min(bytes.len());
            bytes.splice(start..end, value);
            Ok(OK)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_continue_stream",
        |mut guest: Guest<'_>, kind: u32| match kind {
            DOWNSTREAM => on_stream(&mut guest, Stream::resume),
            _ => BAD_ARGUMENT,
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_close_stream",
        |mut guest: Guest<'_>, kind: u32| match kind {
            DOWNSTREAM => on_stream(&mut guest, |stream| stream.closed = true),
            _ => BAD_ARGUMENT,
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_http_call",
        |mut guest: Guest<'_>,
         cluster: u32,
         cluster_size: u32,
         _headers: u32,
         _headers_size: u32,
         body: u32,
         body_size: u32,
         _trailers: u32,
         _trailers_size: u32,
         _timeout: u32,
         token: u32| {
            let cluster = read(&mut guest, cluster, cluster_size)?;
            let body = read(&mut guest, body, body_size)?;
            if guest.data().http_cluster.as_deref() != Some(&cluster) {
                return Ok(BAD_ARGUMENT);
            }
            write(&mut guest, token, &1_u32.to_le_bytes())?;
            let envoy = guest.data_mut();
            envoy.posted.insert(envoy.effective, body);
            Ok(OK)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_effective_context",
        |mut guest: Guest<'_>, context: u32| {
            let envoy = guest.data_mut();
            if envoy.streams.contains_key(&context) {
                envoy.effective = context;
                OK
            } else {
                BAD_ARGUMENT
            }
        },
    )?;
    Ok(())
}

/// Reads `SetEnvoyFilterStateArguments { string path = 1; string value = 2; }`, whose strings are below 128 bytes here or
/// have a two-byte length.
fn filter_state_arguments(mut bytes: &[u8]) -> Option<(String, Vec<u8>)> {
    let mut fields = [None, None];
    while let Some((tag, rest)) = bytes.split_first() {
        let (size, rest) = match *rest {
            [low, high, ref rest @ ..] if low >= 0x80 && high < 0x80 => {
                (usize::from(low & 0x7f) | usize::from(high) << 7, rest)
            }
            [size, ref rest @ ..] if size < 0x80 => (usize::from(size), rest),
            _ => return None,
        };
        let (text, rest) = rest.split_at_checked(size)?;
        let field = match tag {
            0x0a => &mut fields[0],
            0x12 => &mut fields[1],
            _ => return None,
        };
        *field = Some(text);
        bytes = rest;
    }
    let [path, value] = fields;
    Some((String::from_utf8(path?.to_vec()).ok()?, value?.to_vec()))
}
