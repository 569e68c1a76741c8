//! A slice as a Kubernetes `ConfigMap`.

use std::fmt::Write;

use crate::error::Error;
use sha2::{Digest, Sha256};

/// The most that Kubernetes lets a `ConfigMap` hold, in bytes of its values (`MaxSecretSize`).
const LARGEST: usize = 1024 * 1024;
/// The longest name of an object that fits wherever Kubernetes copies it to, such as labels.
const LONGEST_NAME: usize = 63;

/// One document of YAML, that holds a workload's slice.
///
/// # Errors
/// Where the slice is larger than a `ConfigMap` may be.
pub(super) fn config_map(workload: &str, slice: &str, digest: &str) -> Result<String, Error> {
    if slice.len() > LARGEST {
        return Err(Error::TooLarge {
            workload: workload.to_owned(),
            size: slice.len(),
            largest: LARGEST,
        });
    }
    let namespace = namespace(workload)
        .map_or_else(String::new, |namespace| format!("  namespace: {}\n", quoted(namespace)));
    Ok(format!(
        "\
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {}
{namespace}  labels:
    app.kubernetes.io/managed-by: signet
  annotations:
    signet-workload: {}
    signet-policy-digest: {}
data:
  policy.json: {}
",
        quoted(&name(workload)),
        quoted(workload),
        quoted(digest),
        quoted(slice),
    ))
}

/// A name that tells the workload and is no other's: what of the ID a name may have, and a part of its hash.
fn name(workload: &str) -> String {
    let hash = hex::encode(Sha256::digest(workload));
    let path = workload.strip_prefix("spiffe://").unwrap_or(workload);
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let room = LONGEST_NAME - "signet--12345678".len();
    let tail: String =
        path.chars().skip(path.chars().count().saturating_sub(room)).map(allowed).collect();
    format!("signet-{}-{}", tail.trim_matches('-'), &hash[..8])
}

/// The namespace in an ID of the form that SPIRE's Kubernetes registrations have.
fn namespace(workload: &str) -> Option<&str> {
    let mut segments = workload.strip_prefix("spiffe://")?.split('/').skip(1);
    let namespace = (segments.next() == Some("ns")).then(|| segments.next())??;
    let valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (namespace.bytes().all(valid) && segments.next() == Some("sa")).then_some(namespace)
}

/// A text in double quotes, as YAML and JSON read it alike.
fn quoted(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    let mut quoted = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            // What JSON may leave as it is and YAML doesn't read.
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted
}
