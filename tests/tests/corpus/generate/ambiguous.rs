//! Requests that two readers could read differently: always refused, whatever the rules say.

use super::{KNOWN, Known};
use crate::case::Case;

/// Segments that must never stand anywhere.
const SEGMENTS: &[&[u8]] = &[
    b"",
    b".",
    b"..",
    b"%2e",
    b"%2E%2e",
    b".%2e",
    b"%2e.",
    b"..;",
    b".;x=1",
    b"..;foo=bar",
    b"\\",
    b"%5c",
    b"..%5c",
    b"%2f",
    b"..%2f",
    b"%252e%252e",
    b"..\\",
    b"%00",
    b";",
    b"%3b",
];

/// What must never stand in a segment. Here it is put behind it.
const MARKS: &[&[u8]] = &[
    b";",
    b";x=1",
    b"%3b",
    b"%3B",
    b"%2f",
    b"%2Fx",
    b"%5c",
    b"%5Cx",
    b"\\",
    b"\\x",
    b"%00",
    b"%0a",
    b"%0d%0a",
    b"%1f",
    b"%7f",
    b"%",
    b"%z",
    b"%g1",
    b"%1",
    b"%2",
    b"%%",
    b"%252e",
    b"%2541",
    b"%25ff",
    b"%41",
    b"%7a",
    b"%30",
    b"%2d",
    b"%5f",
    b"%7E",
    b"%2e",
    b"%ff",
    b"%80",
    b"%c0%af",
    b"%ed%a0%80",
    b"%C3",
    b"%f4%90%80%80",
    b"#",
    b"#x",
    b"\x01",
    b"\x7f",
    b"\t",
    b"\xff",
    b"\xc0\xaf",
    b"\xc3",
    b" x",
];

/// Cases with a segment more, and cases with a segment changed.
pub(super) fn cases() -> (Vec<Case>, Vec<Case>) {
    let (mut inserted, mut altered) = (Vec::new(), Vec::new());
    for known in KNOWN {
        let segments: Vec<&str> = known.path.split('/').collect();
        for (s, segment) in SEGMENTS.iter().enumerate() {
            for at in 0..=segments.len() {
                // An empty last segment is a trailing slash, which means nothing.
                if segment.is_empty() && at == segments.len() {
                    continue;
                }
                let mut parts: Vec<&[u8]> = segments.iter().map(|part| part.as_bytes()).collect();
                parts.insert(at, segment);
                inserted.push(refused(known, &format!("segment{s}@{at}"), &parts));
            }
        }
        for (m, mark) in MARKS.iter().enumerate() {
            for at in 0..segments.len() {
                let changed = [segments[at].as_bytes(), mark].concat();
                let mut parts: Vec<&[u8]> = segments.iter().map(|part| part.as_bytes()).collect();
                parts[at] = &changed;
                let case = refused(known, &format!("mark{m}@{at}"), &parts);
                // In HTTP/1.1 white space behind the target is none of it.
                let ends_blank = *mark == b"\t" && at + 1 == segments.len();
                altered.push(if ends_blank { case.over("h2") } else { case });
            }
        }
        for at in 0..segments.len() {
            // The first character by its escape, which has no need of one.
            let (first, rest) = segments[at].split_at(1);
            let changed = format!("%{:02x}{rest}", first.as_bytes()[0]);
            let mut parts: Vec<&[u8]> = segments.iter().map(|part| part.as_bytes()).collect();
            parts[at] = changed.as_bytes();
            altered.push(refused(known, &format!("encoded@{at}"), &parts));
        }
    }
    (inserted, altered)
}

fn refused(known: &Known, what: &str, parts: &[&[u8]]) -> Case {
    let path = [b"/", parts.join(&b'/').as_slice()].concat();
    Case::new(format!("{} {} {what}", known.method, known.path), known.method, path).refused()
}
