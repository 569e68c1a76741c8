//! The host functions of proxy-wasm ABI 0.2.1 that the filters use, with the statuses that Envoy 1.40 answers.

use wasmtime::{Caller, Error, Extern, Linker, Memory, Result};

use crate::envoy::{Envoy, Headers, LocalResponse, Stream};

const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
const BAD_ARGUMENT: u32 = 2;
const CAS_MISMATCH: u32 = 8;

const REQUEST_TRAILERS: u32 = 1;
const DOWNSTREAM: u32 = 2;
const UPSTREAM: u32 = 3;
const PLUGIN_CONFIGURATION: u32 = 7;

type Guest<'a> = Caller<'a, Envoy>;

/// Gives a module its imports.
pub(crate) fn link(linker: &mut Linker<Envoy>) -> Result<()> {
    link_environment(linker)?;
    link_streams(linker)?;
    link_headers(linker)
}

fn link_environment(linker: &mut Linker<Envoy>) -> Result<()> {
    linker.func_wrap(
        "env",
        "proxy_log",
        |mut guest: Guest<'_>, level: u32, text: u32, size: u32| {
            let text = String::from_utf8_lossy(&read(&mut guest, text, size)?).into_owned();
            guest.data_mut().log(level, text);
            Ok(OK)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_current_time_nanoseconds",
        |mut guest: Guest<'_>, time: u32| {
            let now = guest.data().nanoseconds;
            write(&mut guest, time, &now.to_le_bytes())?;
            Ok(OK)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_tick_period_milliseconds",
        |mut guest: Guest<'_>, period: u32| {
            guest.data_mut().tick_period = period;
            OK
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_define_metric",
        |mut guest: Guest<'_>, _kind: u32, name: u32, size: u32, id: u32| {
            let name = String::from_utf8_lossy(&read(&mut guest, name, size)?).into_owned();
            let metric = u32::try_from(guest.data_mut().metric(name))?;
            write(&mut guest, id, &metric.to_le_bytes())?;
            Ok(OK)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_increment_metric",
        |mut guest: Guest<'_>, id: u32, offset: i64| {
            on_metric(&mut guest, id, |value| value.saturating_add_signed(offset))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_shared_data",
        |mut guest: Guest<'_>, key: u32, key_size: u32, data: u32, size: u32, cas: u32| {
            let key = read(&mut guest, key, key_size)?;
            let Some((value, version)) = guest.data().shared_data.get(&key).cloned() else {
                return Ok(NOT_FOUND);
            };
            write(&mut guest, cas, &version.to_le_bytes())?;
            give(&mut guest, &value, data, size)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_shared_data",
        |mut guest: Guest<'_>, key: u32, key_size: u32, data: u32, size: u32, cas: u32| {
            let key = read(&mut guest, key, key_size)?;
            let value = read(&mut guest, data, size)?;
            let shared = guest.data_mut().shared_data.entry(key).or_default();
            if cas != 0 && cas != shared.1 {
                return Ok(CAS_MISMATCH);
            }
            *shared = (value, shared.1 + 1);
            Ok(OK)
        },
    )?;
    Ok(())
}

fn on_metric(guest: &mut Guest<'_>, id: u32, change: impl FnOnce(u64) -> u64) -> u32 {
    let metric = usize::try_from(id).ok().and_then(|id| guest.data_mut().metrics.get_mut(id));
    metric.map_or(NOT_FOUND, |(_, value)| {
        *value = change(*value);
        OK
    })
}

fn link_streams(linker: &mut Linker<Envoy>) -> Result<()> {
    linker.func_wrap(
        "env",
        "proxy_get_property",
        |mut guest: Guest<'_>, path: u32, path_size: u32, data: u32, size: u32| {
            let path = read(&mut guest, path, path_size)?;
            let value =
                guest.data_mut().stream().and_then(|stream| stream.properties.get(&path).cloned());
            value.map_or(Ok(NOT_FOUND), |value| give(&mut guest, &value, data, size))
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
            let start = (start as usize).min(bytes.len());
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

fn on_stream<T>(guest: &mut Guest<'_>, change: impl FnOnce(&mut Stream) -> T) -> u32 {
    guest.data_mut().stream().map_or(NOT_FOUND, |stream| {
        change(stream);
        OK
    })
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

fn link_headers(linker: &mut Linker<Envoy>) -> Result<()> {
    linker.func_wrap(
        "env",
        "proxy_get_header_map_pairs",
        |mut guest: Guest<'_>, map: u32, data: u32, size: u32| {
            let pairs = headers(&mut guest, map).map(|headers| serialize(headers));
            pairs.map_or(Ok(BAD_ARGUMENT), |pairs| give(&mut guest, &pairs, data, size))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_replace_header_map_value",
        |mut guest: Guest<'_>, map: u32, name: u32, name_size: u32, value: u32, value_size: u32| {
            let name = read(&mut guest, name, name_size)?.to_ascii_lowercase();
            let value = read(&mut guest, value, value_size)?;
            Ok(headers(&mut guest, map).map_or(BAD_ARGUMENT, |headers| {
                headers.retain(|(known, _)| *known != name);
                headers.push((name, value));
                OK
            }))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_remove_header_map_value",
        |mut guest: Guest<'_>, map: u32, name: u32, name_size: u32| {
            let name = read(&mut guest, name, name_size)?.to_ascii_lowercase();
            Ok(headers(&mut guest, map).map_or(BAD_ARGUMENT, |headers| {
                headers.retain(|(known, _)| *known != name);
                OK
            }))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_send_local_response",
        |mut guest: Guest<'_>,
         status: u32,
         details: u32,
         details_size: u32,
         body: u32,
         body_size: u32,
         pairs: u32,
         pairs_size: u32,
         grpc_status: i32| {
            let response = LocalResponse {
                status,
                details: String::from_utf8_lossy(&read(&mut guest, details, details_size)?)
                    .into_owned(),
                body: read(&mut guest, body, body_size)?,
                headers: deserialize(&read(&mut guest, pairs, pairs_size)?).ok_or_else(|| {
                    Error::msg("the header pairs of a local response are malformed")
                })?,
                grpc_status: (grpc_status >= 0).then_some(grpc_status),
            };
            Ok(on_stream(&mut guest, |stream| stream.response = Some(response)))
        },
    )?;
    Ok(())
}

fn headers<'a>(guest: &'a mut Guest<'_>, map: u32) -> Option<&'a mut Headers> {
    let stream = guest.data_mut().stream()?;
    match map {
        0 => Some(&mut stream.request),
        REQUEST_TRAILERS => Some(&mut stream.trailers),
        _ => None,
    }
}

fn serialize(headers: &Headers) -> Vec<u8> {
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = number(headers.len()).to_vec();
    for (name, value) in headers {
        bytes.extend(number(name.len()));
        bytes.extend(number(value.len()));
    }
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        bytes.extend(text);
        bytes.push(0);
    }
    bytes
}

fn deserialize(bytes: &[u8]) -> Option<Headers> {
    if bytes.is_empty() {
        return Some(Headers::new());
    }
    let number = |at: usize| {
        let number = bytes.get(at..)?.first_chunk::<4>()?;
        usize::try_from(u32::from_le_bytes(*number)).ok()
    };
    let count = number(0)?;
    let mut start = count.checked_mul(8)?.checked_add(4)?;
    let mut text = |size: usize| {
        let text = bytes.get(start..start.checked_add(size)?)?.to_vec();
        start += size + 1;
        Some(text)
    };
    (0..count)
        .map(|index| Some((text(number(4 + 8 * index)?)?, text(number(8 + 8 * index)?)?)))
        .collect()
}

fn memory(guest: &mut Guest<'_>) -> Result<Memory> {
    guest
        .get_export("memory")
        .and_then(Extern::into_memory)
        .ok_or_else(|| Error::msg("the module exports no memory"))
}

fn read(guest: &mut Guest<'_>, pointer: u32, size: u32) -> Result<Vec<u8>> {
    let start = pointer as usize;
    let memory = memory(guest)?;
    let bytes = memory.data(&*guest).get(start..start + size as usize);
    bytes
        .map(<[u8]>::to_vec)
        .ok_or_else(|| Error::msg("the filter passed a pointer outside of its memory"))
}

fn write(guest: &mut Guest<'_>, pointer: u32, bytes: &[u8]) -> Result<()> {
    let memory = memory(guest)?;
    memory.write(&mut *guest, pointer as usize, bytes)?;
    Ok(())
}

/// Hands bytes over: into memory that the filter allocates, with pointer and size where it wants them.
fn give(guest: &mut Guest<'_>, bytes: &[u8], data: u32, size: u32) -> Result<u32> {
    let length = u32::try_from(bytes.len())?;
    let pointer = if bytes.is_empty() {
        0
    } else {
        let allocate = guest.get_export("proxy_on_memory_allocate").and_then(Extern::into_func);
        let allocate =
            allocate.ok_or_else(|| Error::msg("the module exports no proxy_on_memory_allocate"))?;
        let pointer = allocate.typed::<u32, u32>(&*guest)?.call(&mut *guest, length)?;
        write(guest, pointer, bytes)?;
        pointer
    };
    write(guest, data, &pointer.to_le_bytes())?;
    write(guest, size, &length.to_le_bytes())?;
    Ok(OK)
}
