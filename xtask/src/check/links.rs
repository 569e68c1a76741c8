//! The links of the repository's pages: each leads to a file and a heading that are there, and those of the book stay in the
//! book, which is also read away from the repository.

use std::{
    collections::HashSet,
    fs,
    path::{Component, Path, PathBuf},
};

use anyhow::{Result, bail};

use crate::command::Run;

/// Where the book's pages are.
const BOOK: &str = "docs";

pub(super) fn all_lead_somewhere() -> Result<()> {
    let pages = Run::new("git").args(["ls-files", "*.md"]).output()?;
    let mut dead = Vec::new();
    for page in pages.lines().map(Path::new) {
        let text = fs::read_to_string(page)?;
        let dead_links = links(&text).filter_map(|link| Some((link, fault(page, link)?)));
        dead.extend(dead_links.map(|(link, why)| format!("{}: {link}: {why}", page.display())));
    }
    if dead.is_empty() { Ok(()) } else { bail!("dead links:\n{}", dead.join("\n")) }
}

/// What is wrong with a link of a page. Other sites are not asked.
fn fault(page: &Path, link: &str) -> Option<&'static str> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = match file {
        "" => page.to_path_buf(),
        file => plain(&page.parent()?.join(file)),
    };
    if page.starts_with(BOOK) && !target.starts_with(BOOK) {
        return Some("leads out of the book");
    }
    if !target.exists() {
        return Some("no such file");
    }
    let has_anchor = || Some(headings(&fs::read_to_string(&target).ok()?).contains(anchor));
    (!anchor.is_empty() && has_anchor() != Some(true)).then_some("no such heading")
}

/// The path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

/// Lines outside of code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    })
}

/// The targets of `[…](target)`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    prose(text).flat_map(|line| {
        // Every second part of a line stands between backticks.
        let spans = line.split('`').step_by(2);
        let targets = spans.flat_map(|span| span.split("](").skip(1));
        targets.filter_map(|rest| Some(rest.split_once(')')?.0))
    })
}

/// The anchors of a page's headings: lower case, dashes for spaces, no other signs.
fn headings(text: &str) -> HashSet<String> {
    let anchor = |line: &str| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    prose(text).filter(|line| line.starts_with('#')).map(anchor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_headings_are_found_outside_of_code() {
        let text = "# What `it` is, and why\nSee [a](a.md), [b\n](b.md#c-d) and `[x](y)`.\n```\n# no\n[n](no.md)\n```\n[e](#e)\n";
        assert_eq!(links(text).collect::<Vec<_>>(), ["a.md", "b.md#c-d", "#e"]);
        assert_eq!(headings(text), HashSet::from(["what-it-is-and-why".to_owned()]));
        assert_eq!(plain(Path::new("docs/./bench/../../README.md")), Path::new("README.md"));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let page = |name: &str| repository.join(name);
        assert_eq!(fault(&page("README.md"), "docs/policy.md"), None);
        assert_eq!(fault(&page("README.md"), "docs/policies.md"), Some("no such file"));
        assert_eq!(fault(&page("docs/policy.md"), "metrics.md#what-the-filters-count"), None);
        assert_eq!(fault(&page("docs/policy.md"), "metrics.md#what"), Some("no such heading"));
        assert_eq!(fault(&page("docs/policy.md"), "https://example.org/x"), None);
        let book = Path::new("docs/policy.md");
        assert_eq!(fault(book, "../examples/policies/demo.yaml"), Some("leads out of the book"));
    }
}
