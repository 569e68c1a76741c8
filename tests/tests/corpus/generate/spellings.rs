//! Spellings that mean the same: the decision stays what it was.

use super::KNOWN;
use crate::case::Case;

/// The query is cut off before anything is looked at.
const QUERIES: &[&str] = &[
    "",
    "?",
    "?x=1",
    "?x=1&x=2",
    "?a/b/c",
    "?/../../etc",
    "?//",
    "?%2e%2e",
    "?%zz",
    "?%",
    "?;",
    "?a=b;c=d",
    "?x=?y",
    "?path=/files/secret/keys",
    "?\\",
    "?x=%00",
    "?%2561",
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for known in KNOWN {
        for slash in ["", "/"] {
            for (q, query) in QUERIES.iter().enumerate() {
                let id = format!("{} {}{slash} query{q}", known.method, known.path);
                let case = Case::new(id, known.method, format!("/{}{slash}{query}", known.path));
                cases.push(known.decide(case));
            }
        }
    }
    // Literals are compared decoded; hex digits are the same in both cases.
    for path in [
        "/%C3%A9",
        "/%c3%a9",
        "/x+y",
        "/x%2By",
        "/x%2by",
        "/100%25",
        "/a,b=c@d",
        "/a%2Cb=c@d",
        "/a%2cb%3Dc%40d",
        "/~tilde",
        "/.dot",
        "/a%20b/",
        "/%C3%A9/",
    ] {
        cases.push(
            Case::new(format!("text {path}"), "GET", path).allowed("text", Some("text_reader")),
        );
    }
    for octet in (0x21..=0x7e).filter(|octet| !b"#%./;?\\".contains(octet)) {
        let path = format!("/files/{}", char::from(octet));
        let case = Case::new(format!("octet {octet:02x}"), "GET", path);
        cases.push(case.allowed("files", Some("files_reader")));
    }
    for escape in [
        "%20",
        "%21",
        "%22",
        "%23",
        "%24",
        "%26",
        "%27",
        "%28",
        "%2a",
        "%2B",
        "%3a",
        "%3C",
        "%3f",
        "%5b",
        "%7C",
        "%E2%82%AC",
        "%f0%9f%98%80",
        "%25",
        "%25%20",
        "%25g0",
        "..a",
        "a..",
        "...",
        ".a",
        "a.",
    ] {
        let case = Case::new(format!("escape {escape}"), "GET", format!("/files/{escape}"));
        cases.push(case.allowed("files", Some("files_reader")));
    }
    // Near to a literal, but not it.
    for path in [
        "/Customers",
        "/customer",
        "/customerss",
        "/customers/7/orders",
        "/customers/7/orders/9/1",
        "/customers/7/Orders/9",
        "/x",
        "/file",
        "/filesx",
        "/auditx",
        "/a%20%20b",
        "/ab",
        "/x%20y",
        "/100",
        "/%C3%89",
        "/e%CC%81",
        "/tilde",
        "/dot",
        "/shop.Orders",
        "/shop.orders/Get",
        "/shop.Orders/Get/x",
        "/publicx",
        "/publi",
        "/customers%20",
        "/%20customers",
        "/customers%3f",
        "/customers%23",
        "/customers,",
        "/customers*",
        "/*",
        "/**",
        "/{id}",
    ] {
        cases.push(Case::new(format!("near {path}"), "GET", path));
    }
    cases
}
