//! Header maps and local responses.

use wasmtime::{Error, Linker, Result};

use super::{
    BAD_ARGUMENT, Guest, OK,
    memory::{give, read},
    on_stream,
};
use crate::envoy::{Envoy, Headers, LocalResponse};

const REQUEST: u32 = 0;
const REQUEST_TRAILERS: u32 = 1;

pub(super) fn link(linker: &mut Linker<Envoy>) -> Result<()> {
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
        "proxy_add_header_map_value",
        |mut guest: Guest<'_>, map: u32, name: u32, name_size: u32, value: u32, value_size: u32| {
            let name = read(&mut guest, name, name_size)?.to_ascii_lowercase();
            let value = read(&mut guest, value, value_size)?;
            Ok(headers(&mut guest, map).map_or(BAD_ARGUMENT, |headers| {
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
        REQUEST => Some(&mut stream.request),
        REQUEST_TRAILERS => Some(&mut stream.trailers),
        _ => None,
    }
}

pub(super) fn serialize(headers: &Headers) -> Vec<u8> {
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
