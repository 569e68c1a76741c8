//! Files with figures.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{
    Options,
    row::{self, Row},
};

/// Prints the aims of a bench, and writes its JSON, and its page and its plot where they are wanted.
pub(crate) fn publish(
    options: &Options,
    bench: &str,
    rows: &[Row],
    json: &Value,
    page_and_plot: impl FnOnce() -> (String, String),
) -> Result<()> {
    println!("\n{}", row::table(rows));
    let json = serde_json::to_string_pretty(json)? + "\n";
    write(&options.results, &format!("{bench}.json"), &json)?;
    if let Some(docs) = &options.docs {
        let (page, plot) = page_and_plot();
        write(docs, &format!("{bench}.md"), &page)?;
        write(docs, &format!("{bench}.svg"), &plot)?;
    }
    Ok(())
}

/// Writes a file, and says so.
fn write(directory: &Path, name: &str, text: &str) -> Result<()> {
    let path = directory.join(name);
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(&path, text))
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("written: {}", path.display());
    Ok(())
}
