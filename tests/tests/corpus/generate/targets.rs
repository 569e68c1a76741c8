//! Targets that are no plain path: `*`, CONNECT, upgrades by both protocols, the absolute form, missing slashes; and gRPC.

use super::KNOWN;
use crate::case::Case;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for known in KNOWN {
        let id = |what: &str| format!("{} {} {what}", known.method, known.path);
        let case = |what: &str, path: String| Case::new(id(what), known.method, path);
        let path = known.path;
        cases.push(case("without slash", path.to_owned()).refused());
        cases.push(case("with backslash", format!("\\{path}")).refused());
        cases.push(case("with encoded slash", format!("%2f{path}")).refused());
        cases.push(case("with authority", format!("//api/{path}")).refused());
        // In HTTP/1.1 a proxy must read the absolute form, and Envoy turns it into authority and path.
        for scheme in ["http", "https", "ftp"] {
            let absolute = case(scheme, format!("{scheme}://api/{path}"));
            cases.push(absolute.over("h2").refused());
        }
        // gRPC changes the answer, never the decision.
        for kind in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc-web",
            "Application/gRPC",
        ] {
            let grpc = case(kind, format!("/{path}")).header("content-type", kind);
            cases.push(known.decide(grpc));
        }
        // Who asks for another protocol needs a rule that lists it; a deny needs none.
        for protocol in ["websocket", "tls/1.0", "WebSocket", "websocket, h2c", ""] {
            let upgrade = case(&format!("to {protocol}"), format!("/{path}"));
            let upgrade = upgrade.header("connection", "Upgrade").header("upgrade", protocol);
            let stays = matches!(known.decision, super::Decision::Deny(_));
            let upgrade = upgrade.over("h1");
            cases.push(if stays { known.decide(upgrade) } else { upgrade });
        }
        // Envoy takes these for no upgrade.
        for (connection, protocol) in
            [("", "websocket"), ("keep-alive", "websocket"), ("Upgrade", "h2c")]
        {
            let id = format!("to {protocol:?} by connection {connection:?}");
            let plain = case(&id, format!("/{path}")).header("upgrade", protocol);
            cases.push(known.decide(plain.header("connection", connection).over("h1")));
        }
        // An extended CONNECT is that GET, whatever the method was of what is known about the path.
        let mut connect = case("extended CONNECT", format!("/{path}"));
        connect.method = b"CONNECT".to_vec();
        let connect = connect.header(":protocol", "websocket").over("h2");
        cases.push(match path {
            "files/secret/keys" => connect.denied("no-secret-files"),
            _ => connect,
        });
    }
    for method in ["OPTIONS", "GET", "POST", "HEAD", "PUT"] {
        let case = Case::new(format!("{method} *"), method, "*");
        cases.push(match method {
            // The bootstrap's route is for paths: what the policy allows has nowhere to go.
            "OPTIONS" => case.allowed("server-options", None).envoy_stops(),
            _ => case.refused(),
        });
    }
    let report = "spiffe://example.org/ns/report-ns/sa/report";
    let all = Case::new("OPTIONS * without paths", "OPTIONS", "*").from(report);
    cases.push(all.allowed("report-anything", None).envoy_stops());
    for target in [
        "**",
        "*/",
        "/*/..",
        "*?x",
        "*customers",
        "?",
        "",
        "#",
        "customers",
        ".",
        "..",
        "http:",
        "/%2a/%2e",
    ] {
        for method in ["OPTIONS", "GET"] {
            let case = Case::new(format!("{method} {target:?}"), method, target);
            cases.push(case.refused());
        }
    }
    for authority in ["api:443", "api", "api.example.org:80", "10.0.0.1:5432", "localhost:9901"] {
        let case = Case::new(format!("CONNECT {authority}"), "CONNECT", "").authority(authority);
        cases.push(Case { path: None, ..case });
    }
    let chat = |id: &str| Case::new(id, "GET", "/chat");
    let upgrade = |id: &str, protocol: &str| {
        chat(id).header("connection", "upgrade").header("upgrade", protocol).over("h1")
    };
    let connect = |id: &str, protocol: &str| {
        let case = Case::new(id, "CONNECT", "/chat").header(":protocol", protocol);
        case.over("h2")
    };
    let allowed = |case: Case| case.allowed("chat", None);
    cases.push(allowed(connect("chat", "websocket")));
    cases.push(allowed(upgrade("chat by upgrade", "websocket")));
    cases.push(allowed(upgrade("chat in capitals", "WebSocket")));
    cases.push(allowed(chat("chat without upgrade")));
    cases.push(allowed(upgrade("chat by h2c, which is none", "h2c")));
    cases.push(upgrade("chat by another protocol", "tls/1.0"));
    cases.push(upgrade("chat by two protocols", "websocket, h2c"));
    cases.push(connect("chat by connect-udp", "connect-udp"));
    cases
}
