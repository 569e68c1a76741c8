//! What was seen on either side, and the page of the book that is made of it.

use std::{env, fmt, fs, path::Path};

const HEAD: &str = "\
# Signet in the place of SPIRE agent's SDS

One test runs the same Envoys (`tests/bootstraps/mtls-server.yaml` and `mtls-client.yaml`) and the same requests by hand against
SPIRE agent 1.15.3 and against `sds-server` with that agent behind it, and writes down what it sees; this page is made by it
and checked by every run (`cargo xtask test -p e2e --test sds_drop_in`). The only difference between the two sides is the
socket's path; [how to swap](swap-from-spire-agent.md) says what to do.
";

/// How something went on one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As an operator would want it.
    Good(String),
    /// Not so.
    Poor(String),
}

/// A thing tried on both sides.
#[derive(Debug)]
struct Row {
    tried: &'static str,
    spire: Verdict,
    ours: Verdict,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<Row>);

impl Verdict {
    /// Judges what was seen.
    pub(crate) fn of(good: bool, seen: impl Into<String>) -> Self {
        if good { Self::Good(seen.into()) } else { Self::Poor(seen.into()) }
    }

    fn text(&self) -> &str {
        match self {
            Self::Good(seen) | Self::Poor(seen) => seen,
        }
    }
}

impl Table {
    /// Adds what was seen at SPIRE agent and at ours.
    pub(crate) fn row(&mut self, tried: &'static str, [spire, ours]: [Verdict; 2]) {
        eprintln!("{tried}: SPIRE agent: {}; Signet: {}", spire.text(), ours.text());
        self.0.push(Row { tried, spire, ours });
    }

    /// Fails with every row in which ours is not as an operator would want it: so it is worse in
    /// none.
    pub(crate) fn assert_never_worse(&self) {
        let poor = |row: &&Row| matches!(row.ours, Verdict::Poor(_));
        let poor: Vec<_> = self.0.iter().filter(poor).collect();
        assert!(poor.is_empty(), "{poor:#?}");
    }

    /// Compares with the page of the book.
    pub(crate) fn assert_documented(&self) {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/sds-drop-in.md");
        let expected = format!("{HEAD}{self}");
        if env::var_os("BLESS").is_some() {
            fs::write(&page, &expected).unwrap();
        }
        let found = fs::read_to_string(&page).unwrap_or_default();
        assert_eq!(found, expected, "docs/sds-drop-in.md is stale; run this test with BLESS=1");
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (same, differ): (Vec<_>, Vec<_>) =
            self.0.iter().partition(|row| row.spire.text() == row.ours.text());
        writeln!(out, "\n## Where they differ\n")?;
        writeln!(out, "| tried | SPIRE agent | Signet |\n| --- | --- | --- |")?;
        for Row { tried, spire, ours } in differ {
            writeln!(out, "| {tried} | {} | {} |", spire.text(), ours.text())?;
        }
        writeln!(out, "\n## Where they do not\n\n| tried | both |\n| --- | --- |")?;
        for Row { tried, ours, .. } in same {
            writeln!(out, "| {tried} | {} |", ours.text())?;
        }
        Ok(())
    }
}
