//! What the author of a faulty policy is told.

mod each;
mod files;
mod hostile;
mod ties;

use miette::{GraphicalReportHandler, GraphicalTheme};
use signet_policy_document::Faults;

const HEAD: &str =
    "version: 1\ntrust_domain: example.org\nworkloads: { client: /client, api: /api, db: /db }\n";

/// The faults of a document as a terminal shows them.
fn shown(faults: &Faults) -> String {
    let mut shown = String::new();
    GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
        .with_width(100)
        .render_report(&mut shown, faults)
        .unwrap();
    // The handler pads some lines.
    shown.lines().flat_map(|line| [line.trim_end(), "\n"]).collect()
}
