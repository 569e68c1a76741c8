//! Dynamic metadata, handed over as Envoy's CEL properties are: without its types.

use serde_json::{Map, Value};

use super::{BAD_ARGUMENT, NOT_FOUND, SERIALIZATION_FAILURE, headers::serialize};

const FILTER_METADATA: &[u8] = b"metadata\0filter_metadata\0";

/// The value at a property's path, the parts joined by NUL; `None` for a path outside of metadata, a status where there
/// is no such value.
pub(super) fn property(metadata: &Map<String, Value>, path: &[u8]) -> Option<Result<Vec<u8>, u32>> {
    let mut keys = path.strip_prefix(FILTER_METADATA)?.split(|&b| b == 0);
    let child = |map: &Map<String, Value>, key: &[u8]| {
        std::str::from_utf8(key).ok().and_then(|key| map.get(key)).cloned().ok_or(NOT_FOUND)
    };
    let found = keys.next().map_or(Err(NOT_FOUND), |key| child(metadata, key));
    let walked = keys.fold(found, |value, key| match value? {
        Value::Object(map) => child(&map, key),
        _ => Err(BAD_ARGUMENT),
    });
    Some(walked.and_then(|value| bytes(&value).ok_or(SERIALIZATION_FAILURE)))
}

/// A string as it is, a number as a double, a boolean as a byte, a list or a map as header pairs; nothing where a null is.
fn bytes(value: &Value) -> Option<Vec<u8>> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(value) => vec![u8::from(*value)],
        Value::Number(number) => number.as_f64()?.to_le_bytes().to_vec(),
        Value::String(text) => text.clone().into_bytes(),
        Value::Array(values) => {
            let pair = |value| Some((bytes(value)?, Vec::new()));
            serialize(&values.iter().map(pair).collect::<Option<_>>()?)
        }
        Value::Object(map) => {
            let pair = |(key, value): (&String, _)| Some((key.clone().into_bytes(), bytes(value)?));
            serialize(&map.iter().map(pair).collect::<Option<_>>()?)
        }
    })
}
