//! The table at the end: what was seen, and whether it is what should be.

use std::fmt;

/// Rows in the order of the story.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    point: u8,
    what: String,
    seen: String,
    right: bool,
}

impl Table {
    /// Adds what was seen, and whether it is right.
    pub(crate) fn add(&mut self, point: u8, what: &str, seen: impl fmt::Display, right: bool) {
        let (what, seen) = (what.to_owned(), seen.to_string());
        println!("     {} {what}: {seen}", mark(right));
        self.rows.push(Row { point, what, seen, right });
    }

    /// True if every row is.
    pub(crate) fn is_right(&self) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(|row| row.right)
    }
}

fn mark(right: bool) -> char {
    if right { '✓' } else { '✗' }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |cell: fn(&Row) -> &str| {
            self.rows.iter().map(|row| cell(row).chars().count()).max().unwrap_or(0)
        };
        let (what, seen) = (width(|row| &row.what), width(|row| &row.seen));
        let line = |left, middle, right| {
            let bar = |width| "─".repeat(width + 2);
            format!(
                "{left}{}{middle}{}{middle}{}{middle}{}{right}",
                bar(1),
                bar(what),
                bar(seen),
                bar(1)
            )
        };
        writeln!(out, "{}", line('┌', '┬', '┐'))?;
        let mut last = None;
        for row in &self.rows {
            if last.is_some_and(|point| point != row.point) {
                writeln!(out, "{}", line('├', '┼', '┤'))?;
            }
            let point = if last == Some(row.point) { ' ' } else { char::from(b'0' + row.point) };
            let (about, found, mark) = (&row.what, &row.seen, mark(row.right));
            writeln!(out, "│ {point} │ {about:what$} │ {found:seen$} │ {mark} │")?;
            last = Some(row.point);
        }
        write!(out, "{}", line('└', '┴', '┘'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_cell_makes_the_table_wrong() {
        let mut table = Table::default();
        assert!(!table.is_right());
        table.add(1, "status", 200, true);
        assert!(table.is_right());
        table.add(2, "role", "postgres", false);
        assert!(!table.is_right());
        let expected = "\
┌───┬────────┬──────────┬───┐
│ 1 │ status │ 200      │ ✓ │
├───┼────────┼──────────┼───┤
│ 2 │ role   │ postgres │ ✗ │
└───┴────────┴──────────┴───┘";
        assert_eq!(table.to_string(), expected);
    }
}
