//! The configurations in the book are configurations.

use std::path::Path;

use sds_server::config::Config;

/// The blocks of YAML in a chapter that are whole configurations of the server, also those within a list.
fn configurations(chapter: &str) -> Vec<String> {
    let mut lines = chapter.lines();
    let mut found = Vec::new();
    while let Some(begin) = lines.next() {
        let Some(indent) = begin.strip_suffix("```yaml").filter(|indent| indent.trim().is_empty())
        else {
            continue;
        };
        let block = lines.by_ref().take_while(|line| line.trim() != "```");
        let block = block.map(|line| line.strip_prefix(indent).unwrap_or(line).to_owned() + "\n");
        found.push(block.collect::<String>());
    }
    found.retain(|block| block.starts_with("source:"));
    found
}

#[test]
fn a_configuration_within_a_list_is_found() {
    let chapter = "1. Do:\n\n   ```yaml\n   source:\n     a: b\n   ```\n\n```yaml\nother:\n```\n";
    assert_eq!(configurations(chapter), ["source:\n  a: b\n"]);
}

#[test]
fn every_configuration_of_the_book_is_read() {
    let book = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let mut found = 0;
    for entry in std::fs::read_dir(book).expect("the book") {
        let file = entry.expect("a chapter").path();
        if file.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let chapter = std::fs::read_to_string(&file).expect("readable");
        for configuration in configurations(&chapter) {
            found += 1;
            if let Err(fault) = Config::parse(&configuration) {
                panic!("{}: {fault}\n{configuration}", file.display());
            }
        }
    }
    assert!(found >= 4, "{found} configurations were found");
}
