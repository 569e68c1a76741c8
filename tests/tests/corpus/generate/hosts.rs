//! Hosts: lower case, without port and one trailing dot; a wildcard is one or more labels.

use crate::case::Case;

/// Reach `/hosted`.
const HOSTED: &[&str] = &[
    "api.example.org",
    "API.example.org",
    "Api.Example.Org",
    "api.example.org:443",
    "api.example.org:80",
    "api.example.org.",
    "api.example.org.:8443",
    "a.shop.example.org",
    "a.b.shop.example.org",
    "A.B.C.SHOP.EXAMPLE.ORG",
    "a.shop.example.org.",
    "a.shop.example.org:1",
    "x-1.shop.example.org",
    "api.example.org:",
];

/// Are hosts, but others.
const OTHERS: &[&str] = &[
    "example.org",
    "shop.example.org",
    "xshop.example.org",
    "api.example.orgx",
    "api.example.org.evil.net",
    "xapi.example.org",
    "api-example.org",
    "apiXexample.org",
    "api",
    "localhost:80",
    "10.0.0.1",
    "10.0.0.1:443",
    "[::1]",
    "[::1]:443",
    "evil.net",
    "a.shop.example.org.evil.net",
    "internal.example.net",
];

/// Kept from `/outside` by a deny.
const INSIDE: &[&str] = &[
    "internal.example.org",
    "INTERNAL.example.org",
    "Internal.Example.Org",
    "internal.example.org.",
    "internal.example.org:443",
    "internal.example.org.:443",
    "iNTERNAL.eXAMPLE.oRG.:1",
    "[2001:db8::1]",
    "[2001:DB8::1]:443",
    "10.9.8.7",
    "10.9.8.7:443",
    "10.9.8.7.",
];

/// No host with an optional port.
const AMBIGUOUS: &[&str] = &[
    "user@api.example.org",
    "user:pass@api.example.org",
    "@api.example.org",
    "api.example.org@evil.net",
    "api.example.org..",
    ".api.example.org",
    "api..example.org",
    "api.example.org:x",
    "api.example.org:443:443",
    "api.example.org:999999",
    "api.example.org/",
    "api.example.org/customers",
    "api.example.org?x",
    "api.example.org#x",
    "api.example.org\\x",
    "api%2eexample.org",
    "api.example.org,evil.net",
    "::1",
    "[::1",
    "[api.example.org]",
    "api example.org",
    ".",
    ":443",
    "internal.example.org@api.example.org",
    "\u{1}",
    "*",
    "api.example.org;x",
    "api.example.org|x",
    "a\tb",
    // Addresses in another spelling: each would be another host to whoever compares texts.
    "[2001:db8:0::1]",
    "[2001:0db8::1]:443",
    "[2001:db8::0001]",
    "[2001:db8:0:0:0:0:0:1]",
    "[0:0::1]",
    "[::ffff:a09:807]",
    "[::1%25lo]",
    "[2001:db8::1",
    "10.9.8.07",
    "10.9.2055",
    "0x0a.9.8.7",
    "0xa090807:80",
    "168364039",
    "012.011.010.07",
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let case = |path: &str, host: &str| {
        Case::new(format!("{path} at {}", host.escape_debug()), "GET", format!("/{path}"))
            .authority(host)
    };
    let customers = |case: Case| case.allowed("customers", Some("customers_reader"));
    for host in HOSTED {
        cases.push(case("hosted", host).allowed("hosted", Some("hosted_reader")));
        cases.push(case("outside", host).allowed("outside", None));
        cases.push(customers(case("customers", host)));
    }
    for host in OTHERS {
        cases.push(case("hosted", host));
        cases.push(case("outside", host).allowed("outside", None));
        cases.push(customers(case("customers", host)));
    }
    for host in INSIDE {
        cases.push(case("hosted", host));
        cases.push(case("outside", host).denied("not-inside"));
        cases.push(customers(case("customers", host)));
    }
    for host in AMBIGUOUS {
        for path in ["hosted", "outside", "customers", "nothing"] {
            cases.push(case(path, host).refused());
        }
    }
    // Not known: a deny holds, an allow does not. Envoy lets no such request in.
    let unknown = |path: &str| Case { authority: None, ..case(path, "none") };
    cases.push(unknown("hosted"));
    cases.push(unknown("outside").denied("not-inside"));
    cases.push(customers(unknown("customers")).envoy_stops());
    cases
}
