//! Whether the code that Envoy will load is the code that the operator meant.

use std::io;

use sha2::{Digest, Sha256};

use crate::config::{Filter, Sha256Digest};

/// What looking at a filter's code found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodeCheck {
    /// The file is what the configuration says.
    Matches,
    /// The file cannot be read here. It may lie in Envoy's file system only, so this is no fault.
    Unseen(String),
    /// The file is another one.
    Differs(String),
}

impl CodeCheck {
    /// Reads the file and compares.
    pub fn of(filter: &Filter) -> Self {
        let path = filter.wasm.display();
        let found = match std::fs::read(&filter.wasm) {
            Ok(code) => Sha256Digest::from(<[u8; 32]>::from(Sha256::digest(&code))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Self::Unseen(format!(
                    "filter code {path} is not in this file system: its sha256 is not checked"
                ));
            }
            Err(error) => {
                return Self::Unseen(format!(
                    "filter code {path} cannot be read: {error}; its sha256 is not checked"
                ));
            }
        };
        if found == filter.sha256 {
            Self::Matches
        } else {
            Self::Differs(format!(
                "filter code {path} has sha256 {found}, accepted is {}",
                filter.sha256
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use signet_policy::{DenialDetail, HeaderNames, PayloadName};

    use super::CodeCheck;
    use crate::config::Filter;

    fn filter(wasm: &Path, sha256: &str) -> Filter {
        Filter {
            wasm: wasm.into(),
            sha256: sha256.to_owned().try_into().expect("a digest"),
            denial_detail: DenialDetail::default(),
            headers: HeaderNames::default(),
            jwt_payload: PayloadName::default(),
        }
    }

    #[test]
    fn only_the_meant_code_matches() {
        let directory = tempfile::tempdir().expect("a directory");
        let wasm = directory.path().join("filter.wasm");
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert!(matches!(CodeCheck::of(&filter(&wasm, of_abc)), CodeCheck::Unseen(_)));
        std::fs::write(&wasm, "abc").expect("written");
        assert_eq!(CodeCheck::of(&filter(&wasm, of_abc)), CodeCheck::Matches);
        std::fs::write(&wasm, "abd").expect("written");
        let CodeCheck::Differs(fault) = CodeCheck::of(&filter(&wasm, of_abc)) else {
            panic!("another code")
        };
        assert!(fault.contains(of_abc), "{fault}");
    }
}
