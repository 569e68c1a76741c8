//! `signet status`, against a listener that answers what an sds-server would.

mod command;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use command::{Run, signet};
use serde_json::{Value, json};

/// The recorded answer of an sds-server, with a peer that wrote what it liked.
fn status(ready: bool) -> Value {
    let reasons = if ready {
        json!([])
    } else {
        json!([{ "guard": "identity", "reason": "waiting for the Workload API socket" }])
    };
    json!({
        "version": "0.1.0", "started": "2026-01-01T00:00:00Z", "now": "2026-01-01T00:10:00Z",
        "ready": ready, "reasons": reasons,
        "warnings": [{ "guard": "policy", "reason": "policy: 2 faults" }],
        "source": {
            "kind": "workload_api", "address": "unix:///run/agent.sock",
            "connected": true, "trouble": null,
        },
        "svids": [{
            "spiffe_id": "spiffe://example.org/api", "default": true, "hint": "internal",
            "serial": "0a:0b", "issuer": "CN=x", "issuer_key": null,
            "not_before": "2026-01-01T00:00:00Z", "not_after": "2026-01-01T01:00:00Z",
            "seconds_left": 3000,
        }],
        "withdrawn": [{
            "spiffe_id": "spiffe://example.org/old", "not_after": "2026-01-01T00:20:00Z",
            "seconds_left": 600,
        }],
        "bundles": [{
            "trust_domain": "example.org",
            "authorities": [
                {
                    "subject": "CN=x", "serial": "01", "key": null,
                    "not_after": "2026-01-01T00:00:00Z", "seconds_left": 0,
                },
                {
                    "subject": "CN=x", "serial": "02", "key": null,
                    "not_after": "2026-01-02T01:00:00Z", "seconds_left": 90000,
                },
            ],
        }],
        "policy": {
            "file": "/etc/policy.yaml", "digest": "aaaaaaaaaaaaaaaa", "rules": 3,
            "since": "2026-01-01T00:00:00Z", "rejected": "2 faults", "code_faults": [],
        },
        "envoys": [{
            "peer": "uid 7 pid 9", "node": "sidecar\u{1b}[2J\nPolicy", "cluster": "api",
            "since": "2026-01-01T00:00:00Z",
            "streams": [{ "transport": "unix", "protocol": "sotw", "open": 3 }],
            "policies": { "signet.http": "bbbbbbbbbbbbbbbb", "signet.postgres": "withdrawn" },
            "resources": [
                {
                    "type": "secret", "name": "ALL", "sent": null,
                    "acknowledged": { "version": "eeeeeeeeeeeeeeee", "at": "2026-01-01T00:00:01Z" },
                    "refused": null,
                },
                {
                    "type": "secret", "name": "ROOTCA",
                    "sent": { "version": "cccccccccccccccc", "at": "2026-01-01T00:00:01Z" },
                    "acknowledged": { "version": "cccccccccccccccc", "at": "2026-01-01T00:00:02Z" },
                    "refused": null,
                },
                {
                    "type": "secret", "name": "default",
                    "sent": { "version": "dddddddddddddddd", "at": "2026-01-01T00:00:01Z" },
                    "acknowledged": null,
                    "refused": {
                        "version": "dddddddddddddddd", "at": "2026-01-01T00:00:02Z",
                        "reason": "no room", "disbelieved": false,
                    },
                },
            ],
            "waiting": [{
                "type": "secret", "name": "nobody", "since": "2026-01-01T00:00:11Z",
                "reason": "unknown",
            }],
            "unlisted": 0, "a key of tomorrow": 1,
        }],
        "refused_peers": [{
            "peer": "uid 8", "class": "uid", "reason": "not allowed", "count": 12,
            "first": "2026-01-01T00:00:00Z", "last": "2026-01-01T00:00:03Z",
        }],
        "logging": "info",
    })
}

/// Runs the command against a listener that gives this answer once.
fn asked(answer: impl AsRef<[u8]>, arguments: &[&str]) -> Run {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = format!("http://{}", listener.local_addr().unwrap());
    let answer = answer.as_ref().to_owned();
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        let length = stream.read(&mut request).unwrap();
        stream.write_all(&answer).unwrap();
        String::from_utf8(request[..length].to_vec()).unwrap()
    });
    let run = signet(&[&["status", "--admin", &admin], arguments].concat(), "");
    let request = serving.join().unwrap();
    assert!(request.starts_with("GET /status HTTP/1.0\r\nhost: 127.0.0.1:"), "{request}");
    run
}

fn ok(status: &Value) -> String {
    format!("HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{status}")
}

#[test]
fn the_table_is_for_people() {
    let run = asked(ok(&status(true)), &[]);
    assert_eq!(run.code, 0, "{}", run.err);
    let (first, rest) = run.out.split_once('\n').unwrap();
    assert!(first.starts_with("sds-server 0.1.0 at http://127.0.0.1:"), "{first}");
    assert!(first.ends_with(": ready"), "{first}");
    let expected = "  warning  policy: policy: 2 faults

Source  workload_api unix:///run/agent.sock: connected

SVIDs  1
  spiffe://example.org/api  50 min 0 s left  serial 0a:0b  default  hint internal
  spiffe://example.org/old  WITHDRAWN: Envoys hold it until 2026-01-01T00:20:00Z, 10 min 0 s left

Bundles  1
  example.org    1 d 1 h left  authorities 2

Policy  aaaaaaaaaaaa  rules 3  /etc/policy.yaml

Envoys  1
  sidecar[2J Policy  (uid 7 pid 9; streams: 3 unix sotw)
    signet.http runs policy bbbbbbbbbbbb  OLDER
    signet.postgres DENIES EVERYTHING: identity withdrawn
    ALL      eeeeeeeeeeee  came with it 2026-01-01T00:00:01Z
    ROOTCA   cccccccccccc  acknowledged 2026-01-01T00:00:02Z
    default  dddddddddddd  REFUSED 2026-01-01T00:00:02Z: no room
    nobody  WAITS since 2026-01-01T00:00:11Z: unknown

Refused peers  1
  uid 8  12 times, last 2026-01-01T00:00:03Z: not allowed
";
    assert_eq!(rest, expected);
}

#[test]
fn a_server_of_a_node_tells_what_each_process_has() {
    let mut status = status(true);
    status["source"]["kind"] = json!("broker");
    let svid = status["svids"][0].clone();
    status["svids"] = json!([]);
    status["processes"] = json!([
        { "process": "uid 7 pid 9", "streams": 2, "trouble": null, "svids": [svid], "bundles": [] },
        { "process": "uid 8 pid 10", "streams": 1, "trouble": "no identity\u{1b}", "svids": [], "bundles": [] },
    ]);
    let run = asked(ok(&status), &[]);
    let expected = "
Processes  2
  uid 7 pid 9  (streams: 2)
    spiffe://example.org/api  50 min 0 s left  serial 0a:0b  default  hint internal
  uid 8 pid 10  (streams: 1)
    no identity

Policy";
    assert!(run.out.contains("\nSVIDs  0\n") && run.out.contains(expected), "{}", run.out);
}

#[test]
fn the_exit_code_tells_readiness() {
    let run = asked(ok(&status(false)), &[]);
    assert_eq!(run.code, 1);
    let missing = "  missing  identity: waiting for the Workload API socket\n";
    assert!(run.out.contains("NOT READY\n") && run.out.contains(missing), "{}", run.out);

    let run = asked(ok(&status(false)), &["-o", "json"]);
    assert_eq!((run.code, run.json()), (1, status(false)), "the JSON is what the server says");
}

#[test]
fn what_cannot_be_asked_is_told_with_code_2() {
    let vacant = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let run = signet(&["status", "--admin", &format!("http://{vacant}")], "");
    assert_eq!(run.code, 2);
    assert!(run.err.contains("is sds-server running"), "{}", run.err);
    let run = signet(&["status", "--admin", "unix:///nonexistent.sock", "-o", "json"], "");
    assert_eq!(run.code, 2);
    assert!(run.json()["error"].as_str().unwrap().contains("unix:///nonexistent.sock"));

    for (answer, told) in [
        ("HTTP/1.0 403 Forbidden\r\n\r\nhost: accepted are…\n".as_bytes(), "accepted is 200"),
        (b"HTTP/1.0 200 OK\r\n\r\n{}", "missing field"),
        (b"HTTP/1.0 200 OK\r\n\r\nhello", "answers what no sds-server does"),
        (b"SSH-2.0", "answers what no sds-server does: it ends within the headers"),
        (b"\x16\x03\x03\xff", "answers what no sds-server does: it is no text"),
    ] {
        let run = asked(answer, &[]);
        assert_eq!(run.code, 2, "{answer:?}");
        assert!(run.err.contains(told), "{answer:?}: {}", run.err);
        assert_eq!(run.err.lines().count(), 1, "{}", run.err);
    }
    assert_eq!(signet(&["status", "--admin", "localhost"], "").code, 2, "no URL");
}

/// Who accepts and says nothing is told as such, not in the words of the system.
#[test]
fn a_silent_server_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let run =
        signet(&["status", "--admin", &format!("http://{}", silent.local_addr().unwrap())], "");
    assert_eq!(run.code, 2);
    assert!(run.err.contains(": nothing came within 5 s; is sds-server running"), "{}", run.err);
}
