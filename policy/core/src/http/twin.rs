//! Header names that some servers take for one.

/// Whether two header names differ by case and by `_` for `-` only.
#[inline]
pub fn is_twin(name: &[u8], header: &[u8]) -> bool {
    name.len() == header.len() && is_alike(name, header)
}

/// Called for names of one length, which few are.
fn is_alike(name: &[u8], header: &[u8]) -> bool {
    for (&a, &b) in name.iter().zip(header) {
        if a != b && fold(a) != fold(b) {
            return false;
        }
    }
    true
}

const fn fold(byte: u8) -> u8 {
    if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() }
}

#[cfg(test)]
mod tests {
    use super::is_twin;

    #[test]
    fn twins() {
        for (name, header, expected) in [
            ("x-db-role", "x-db-role", true),
            ("X_Db-Role", "x-db_role", true),
            ("x-db-role", "x-db-rol", false),
            ("x-db.role", "x-db-role", false),
            ("", "", true),
        ] {
            assert_eq!(is_twin(name.as_bytes(), header.as_bytes()), expected, "{name} {header}");
        }
    }
}
