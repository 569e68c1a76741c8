//! The `options` parameter: a command line in one string.

/// Why `options` cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionsError {
    /// A switch other than `-c name=value` and `--name=value`; the switch as sent.
    Switch(Vec<u8>),
    /// A setting without `=`, or without a name; the setting as sent.
    NoValue(Vec<u8>),
}

/// One setting out of `options`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Name of the GUC, to be compared without regard to case.
    pub name: Vec<u8>,
    /// May be empty.
    pub value: Vec<u8>,
}

/// Splits `options` as Postgres does and reads its settings: `-c name=value`, `-cname=value`, `--name=value`.
///
/// Names come back with `-` turned into `_`, as Postgres does here (and only here). Of two settings of one name the
/// later one wins.
pub fn parse_options(options: &[u8]) -> Result<Vec<Setting>, OptionsError> {
    let mut settings = Vec::new();
    let mut words = split(options).into_iter();
    while let Some(word) = words.next() {
        let setting = match word.as_slice() {
            b"-c" => words.next().ok_or(OptionsError::NoValue(word))?,
            [b'-', b'c' | b'-', inline @ ..] => inline.to_vec(),
            _ => return Err(OptionsError::Switch(word)),
        };
        settings.push(name_and_value(setting)?);
    }
    Ok(settings)
}

fn name_and_value(setting: Vec<u8>) -> Result<Setting, OptionsError> {
    let mut parts = setting.splitn(2, |&byte| byte == b'=');
    match (parts.next(), parts.next()) {
        (Some(name), Some(value)) if !name.is_empty() => {
            let name = name.iter().map(|&byte| if byte == b'-' { b'_' } else { byte }).collect();
            Ok(Setting { name, value: value.to_vec() })
        }
        _ => Err(OptionsError::NoValue(setting)),
    }
}

/// Words between white space; a backslash takes the byte after it literally (`pg_split_opts`).
fn split(options: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut bytes = options.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            // C's isspace, which has a vertical tab that Rust's is_ascii_whitespace lacks.
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => words.extend(word.take()),
            b'\\' => word.get_or_insert_default().extend(bytes.next()),
            _ => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(options: &str, expected: &[(&str, &str)]) {
        let setting =
            |&(name, value): &(&str, &str)| Setting { name: name.into(), value: value.into() };
        let expected: Vec<_> = expected.iter().map(setting).collect();
        assert_eq!(parse_options(options.as_bytes()), Ok(expected), "{options:?}");
    }

    #[test]
    fn the_three_spellings_of_a_setting() {
        check("-c a=1 -cb=2 --c-d=3", &[("a", "1"), ("b", "2"), ("c_d", "3")]);
        check("  \t\n\u{b}--Role=x\r\u{c}", &[("Role", "x")]);
        check("-c a=b=c --d=", &[("a", "b=c"), ("d", "")]);
        check("", &[]);
    }

    #[test]
    fn a_backslash_takes_the_next_byte_literally() {
        check(r"-c a=x\ y\\z", &[("a", r"x y\z")]);
        check(r"--\ro\le=x", &[("role", "x")]);
        check(r"-c\ a=1", &[(" a", "1")]);
        check("--a=1\\", &[("a", "1")]);
    }

    #[test]
    fn other_switches_are_named() {
        for options in ["-d5", "-e", "-ec a=1", "role=x", "-", "-f s"] {
            let first = options.split(' ').next().unwrap();
            assert_eq!(
                parse_options(options.as_bytes()),
                Err(OptionsError::Switch(first.into())),
                "{options:?}"
            );
        }
    }

    #[test]
    fn settings_without_a_value_are_named() {
        for (options, found) in
            [("-c", "-c"), ("-c role", "role"), ("--role", "role"), ("--=x", "=x"), ("--", "")]
        {
            assert_eq!(
                parse_options(options.as_bytes()),
                Err(OptionsError::NoValue(found.into())),
                "{options:?}"
            );
        }
    }
}
