//! Small policies of a small world, and all requests that there are in it.

use std::fmt::Write;

use signet_policy::{Header, HttpRequest, SpiffeId};

/// The destination of all rules.
pub(crate) const API: &str = "spiffe://a/api";

/// A sequence of numbers that is the same in each run.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    pub(crate) fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// A policy of a few rules.
pub(crate) fn http_policy(numbers: &mut Numbers) -> String {
    let mut text = "version: 1\ntrust_domain: a\nhttp:\n".to_owned();
    for i in 0..4 + numbers.below(4) {
        let effect = numbers.one(&["allow", "allow", "deny"]);
        let from = numbers.one(&["[/c]", "['/*']", "[/**]", "['**']", "[/c, /d]", "['/*/**', /c]"]);
        let paths = numbers.one(&[
            "",
            "paths: [/]",
            "paths: [/p]",
            "paths: ['/*']",
            "paths: [/**]",
            "paths: [/p/**]",
            "paths: ['/*/**', /p]",
            "paths: ['*', /p]",
        ]);
        let methods = numbers.one(&[
            "",
            "",
            "methods: [GET]",
            "methods: [GET, OPTIONS]",
            "methods: [OPTIONS]",
        ]);
        let hosts = numbers.one(&[
            "",
            "",
            "",
            "",
            "",
            "hosts: ['*.b']",
            "hosts: [a.b, '*.b']",
            "hosts: [a.b]",
        ]);
        let ports = numbers.one(&["", "", "", "", "", "ports: [1]", "ports: [1, 2]"]);
        let upgrades = numbers.one(&["", "", "", "", "", "", "upgrades: [w]", "upgrades: [w, v]"]);
        let headers = numbers.one(&[
            "",
            "",
            "",
            "",
            "",
            "",
            "headers: { h: x }",
            "headers: { h: [x, y] }",
            "headers: { h: { present: true } }",
            "headers: { h: { absent: true } }",
        ]);
        let role = if effect == "deny" { "" } else { "db_role: r" };
        let keys: Vec<&str> = [paths, methods, hosts, ports, upgrades, headers, role]
            .into_iter()
            .filter(|key| !key.is_empty())
            .collect();
        writeln!(
            text,
            "  - {{ name: r{i}, effect: {effect}, from: {from}, to: [/api], {} }}",
            keys.join(", ")
        )
        .unwrap();
    }
    text.replace(", ,", ",").replace(",  }", " }")
}

/// Who asks in the small world.
pub(crate) const CALLERS: [&str; 6] = [
    "spiffe://a/c",
    "spiffe://a/d",
    "spiffe://a/e",
    "spiffe://a/e/f",
    "spiffe://z/c",
    "spiffe://z/e/f",
];

/// All requests of the small world.
pub(crate) fn each_request(mut visit: impl FnMut(SpiffeId<'_>, &HttpRequest<'_>)) {
    let targets = ["/", "/p", "/q", "/p/q", "/q/p", "/p/q/q", "/q/q/q"];
    let asks = targets.iter().flat_map(|path| [("GET", *path), ("OPTIONS", *path), ("PUT", *path)]);
    for (method, path) in asks.chain([("OPTIONS", "*")]) {
        for from in CALLERS {
            for host in ["", "a.b", "c.b", "z"] {
                for port in [None, Some(1), Some(3)] {
                    for upgrade in ["", "w", "z"] {
                        for values in
                            [&[][..], &["x"], &["y"], &["z"], &["x", "y"], &["x", "z"], &["y", "z"]]
                        {
                            let mut headers: Vec<Header<'_>> = vec![
                                (b":method", method.as_bytes()),
                                (b":path", path.as_bytes()),
                                (b":authority", host.as_bytes()),
                            ];
                            if !upgrade.is_empty() {
                                headers.push((b"upgrade", upgrade.as_bytes()));
                            }
                            headers
                                .extend(values.iter().map(|value| (&b"h"[..], value.as_bytes())));
                            let request =
                                HttpRequest { headers: &headers, port, ..HttpRequest::default() };
                            visit(SpiffeId::parse(from).unwrap(), &request);
                        }
                    }
                }
            }
        }
    }
}
