//! Names as Postgres reads them: in SQL, and in the files of its administrator.

/// A name as an identifier. Always quoted, so that upper case and key words need no thought; and always on one line, whatever
/// a server has for names.
pub(super) fn identifier(name: &str) -> String {
    if !name.contains(char::is_control) {
        return quoted(name);
    }
    let escape = |c: char| match c {
        '\\' => "\\\\".to_owned(),
        c if c.is_control() => format!("\\{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    format!("U&{}", quoted(&name.chars().map(escape).collect::<String>()))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// Names as a list of identifiers.
pub(super) fn identifiers<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let quoted: Vec<_> = names.into_iter().map(|name| identifier(name)).collect();
    quoted.join(", ")
}

/// A text as a literal, which means the same whatever `standard_conforming_strings` says.
pub(super) fn literal(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('\'', "''");
    if text.contains('\\') { format!("E'{escaped}'") } else { format!("'{escaped}'") }
}

/// A block of PL/pgSQL, in dollar quotes that nothing in it ends.
pub(super) fn block(body: &str) -> String {
    let mut tag = "$signet$".to_owned();
    while body.contains(&tag) {
        tag.insert(1, '_');
    }
    format!("do {tag} begin\n{body}end {tag};\n")
}

/// A role or database as a token of `pg_hba.conf`. `None` where no token can say it: a line there ends
/// with its line.
pub(super) fn token(name: &str, version: u8) -> Option<String> {
    const KEY_WORDS: [&str; 5] = ["all", "sameuser", "samerole", "samegroup", "replication"];
    if name.contains(['\n', '\r']) {
        return None;
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if name.bytes().all(plain) && !KEY_WORDS.contains(&name) {
        return Some(name.to_owned());
    }
    // Since 16 what begins with a slash is a regular expression, in quotes as well.
    let text = match name.strip_prefix('/') {
        Some(_) if version >= 16 => format!("/^{}$", literally(name)),
        _ => name.to_owned(),
    };
    Some(quoted(&text))
}

/// A regular expression that matches this text alone.
fn literally(text: &str) -> String {
    let escape = |c: char| match c {
        c if c.is_alphanumeric() || c == '_' => c.to_string(),
        c if c.is_ascii() => format!("\\{c}"),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_quotes() {
        assert_eq!(identifier(r#"a"; drop role b; --"#), r#""a""; drop role b; --""#);
        assert_eq!(identifier("a\n\\\"; drop role b"), r#"U&"a\000a\\""; drop role b""#);
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"\'; drop role b; --"), r"E'\\''; drop role b; --'");
        let hostile = block("  perform '$signet$; drop role b;';\n");
        assert!(hostile.starts_with("do $_signet$ begin"), "{hostile}");
        assert!(hostile.ends_with("end $_signet$;\n"), "{hostile}");
    }

    #[test]
    fn tokens_mean_the_name_and_nothing_else() {
        for (name, version, expected) in [
            ("customers_reader", 15, Some("customers_reader")),
            ("Reader", 15, Some("Reader")),
            ("all", 15, Some("\"all\"")),
            ("replication", 18, Some("\"replication\"")),
            ("+dba", 18, Some("\"+dba\"")),
            ("@file", 15, Some("\"@file\"")),
            ("a,b", 15, Some("\"a,b\"")),
            ("a\"b # c", 15, Some("\"a\"\"b # c\"")),
            ("/x.y", 15, Some("\"/x.y\"")),
            ("/x.y", 16, Some("\"/^\\/x\\.y$\"")),
            ("a\nhost all all all trust", 15, None),
        ] {
            assert_eq!(token(name, version).as_deref(), expected, "{name} {version}");
        }
    }
}
