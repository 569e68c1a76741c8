//! What shall be reached, beside what was.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::figures::{rounded, shown};

/// One aim, and what was measured.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) case: String,
    pub(crate) unit: &'static str,
    pub(crate) ours: f64,
    /// What ours is compared with; none where the aim is absolute.
    pub(crate) peer: Option<f64>,
    pub(crate) aim: Aim,
}

/// A bound on ours ÷ peer, or on ours where there is no peer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Aim {
    AtLeast(f64),
    AtMost(f64),
}

impl Row {
    /// Ours ÷ peer.
    pub(crate) fn ratio(&self) -> Option<f64> {
        self.peer.map(|peer| self.ours / peer)
    }

    pub(crate) fn is_measured(&self) -> bool {
        self.ratio().unwrap_or(self.ours).is_finite()
    }

    /// Noise may make an added cost negative; that proves nothing.
    pub(crate) fn met(&self) -> bool {
        if self.ours <= 0.0 || self.peer.is_some_and(|peer| peer <= 0.0) {
            return false;
        }
        let figure = self.ratio().unwrap_or(self.ours);
        match self.aim {
            Aim::AtLeast(bound) => figure >= bound,
            Aim::AtMost(bound) => figure <= bound,
        }
    }

    /// The bound in words.
    pub(crate) fn aim(&self) -> String {
        match self.aim {
            Aim::AtLeast(bound) => format!("≥ {bound}"),
            Aim::AtMost(bound) => format!("≤ {bound}"),
        }
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "case": self.case,
            "unit": self.unit,
            "ours": rounded(self.ours),
            "peer": self.peer.map(rounded),
            "ratio": self.ratio().map(rounded),
            "aim": self.aim(),
            "met": self.met(),
        })
    }
}

/// All of them, as Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = "| ours / peer | unit | ours | peer | ratio | aim | met |\n\
                    | --- | --- | ---: | ---: | ---: | ---: | --- |\n"
        .to_owned();
    for row in rows {
        let Row { case, unit, ours, peer, .. } = row;
        let peer = peer.map_or_else(String::new, shown);
        let ratio = row.ratio().map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        let met = if row.met() { "yes" } else { "**no**" };
        let aim = row.aim();
        let ours = shown(*ours);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {case} | {unit} | {ours} | {peer} | {ratio} | {aim} | {met} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ours: f64, peer: Option<f64>, aim: Aim) -> Row {
        Row { case: String::new(), unit: "", ours, peer, aim }
    }

    #[test]
    fn an_aim_binds_the_ratio_or_the_figure_itself() {
        assert!(row(85.0, Some(100.0), Aim::AtLeast(0.85)).met());
        assert!(!row(84.0, Some(100.0), Aim::AtLeast(0.85)).met());
        assert!(row(150.0, None, Aim::AtMost(150.0)).met());
        assert!(!row(151.0, None, Aim::AtMost(150.0)).met());
        assert!(!row(5.0, Some(-0.1), Aim::AtMost(1.6)).met());
        assert!(!row(-0.1, Some(5.0), Aim::AtMost(1.6)).met());
    }

    #[test]
    fn what_was_not_measured_can_be_told() {
        assert!(!row(f64::NAN, Some(1.0), Aim::AtLeast(0.5)).is_measured());
        assert!(!row(1.0, Some(f64::NAN), Aim::AtMost(0.5)).is_measured());
    }
}
