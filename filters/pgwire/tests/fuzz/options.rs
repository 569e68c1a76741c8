//! The `options` of a start-up, beside what Postgres does with them.

use pgwire::{OptionsError, parse_options};

use crate::{chance::Chance, each};

/// `pg_split_opts`, line by line.
fn split_opts(options: &[u8]) -> Vec<Vec<u8>> {
    let is_space = |byte: u8| matches!(byte, b' ' | 9..=13);
    let (mut words, mut at) = (Vec::new(), 0);
    loop {
        while at < options.len() && is_space(options[at]) {
            at += 1;
        }
        if at == options.len() {
            return words;
        }
        let (mut word, mut last_was_escape) = (Vec::new(), false);
        while at < options.len() {
            if is_space(options[at]) && !last_was_escape {
                break;
            }
            if !last_was_escape && options[at] == b'\\' {
                last_was_escape = true;
            } else {
                last_was_escape = false;
                word.push(options[at]);
            }
            at += 1;
        }
        words.push(word);
    }
}

/// `process_postgres_switches` for `-c` and `--` only: name and value, or nothing where it is another switch or an error.
fn settings(options: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut found = Vec::new();
    let words = split_opts(options);
    let mut at = 0;
    while at < words.len() {
        let word = &words[at];
        let argument = if word == b"-c" {
            at += 1;
            words.get(at)?.clone()
        } else if word != b"--" && (word.starts_with(b"-c") || word.starts_with(b"--")) {
            word[2..].to_vec()
        } else {
            return None;
        };
        let equals = argument.iter().position(|byte| *byte == b'=')?;
        let name = argument[..equals].iter().map(|byte| if *byte == b'-' { b'_' } else { *byte });
        found.push((name.collect(), argument[equals + 1..].to_vec()));
        at += 1;
    }
    // Postgres knows no setting without a name.
    found.iter().all(|(name, _): &(Vec<u8>, Vec<u8>)| !name.is_empty()).then_some(found)
}

fn options(chance: &mut Chance) -> Vec<u8> {
    const PIECES: &[&[u8]] = &[
        b"-c",
        b"--",
        b"-",
        b"=",
        b" ",
        b"\t",
        b"\x0b",
        b"\x0c",
        b"\\",
        b"\\\\",
        b"role=x",
        b"a=1",
        b"search-path=",
        b"-c a=1 ",
        b"--Role=x ",
        b"-e",
        b"\xff",
        b"'",
    ];
    (0..chance.below(9)).flat_map(|_| chance.one_of(PIECES).to_vec()).collect()
}

/// What is understood is what Postgres would have understood; what Postgres would not take is an error.
#[test]
fn settings_are_those_that_postgres_would_read() {
    let some = each(|chance| {
        let mut options = options(chance);
        if chance.below(4) == 0 {
            chance.mutate(&mut options);
            options.retain(|byte| *byte != 0);
        }
        let found = parse_options(&options);
        if let Err(OptionsError::Switch(word) | OptionsError::NoValue(word)) = &found {
            assert!(word.len() <= options.len());
        }
        let found = found.ok().map(|settings| {
            settings.into_iter().map(|setting| (setting.name, setting.value)).collect::<Vec<_>>()
        });
        assert_eq!(found, settings(&options), "{}", options.escape_ascii());
        found.is_some_and(|settings| !settings.is_empty())
    });
    assert!(some > 500, "{some}");
}
