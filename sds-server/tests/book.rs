//! The configurations in the book are configurations.

use std::path::Path;

use sds_server::config::Config;

/// The blocks of YAML in a chapter that are whole configurations of the server.
fn configurations(chapter: &str) -> impl Iterator<Item = &str> {
    let blocks = chapter.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.filter(|block| block.starts_with("source:"))
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
            if let Err(fault) = Config::parse(configuration) {
                panic!("{}: {fault}\n{configuration}", file.display());
            }
        }
    }
    assert!(found > 0, "no configurations were found");
}
