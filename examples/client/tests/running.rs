//! The running client before a server that answers as Envoy and the API would.

use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::{Path, Request};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::{Next, from_fn};
use axum::routing::{any, get};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, UnixListener};
use tokio::process::Command;
use tokio::sync::Notify;

/// `/status/403` answers with 403; anything else with what was asked. `asked` hears of each request.
fn router(asked: Arc<Notify>) -> Router {
    let status = async |Path(code): Path<u16>| (StatusCode::from_u16(code).unwrap(), "so it is\n");
    let hear = move |request: Request, next: Next| {
        asked.notify_one();
        next.run(request)
    };
    Router::new().route("/status/{code}", any(status)).fallback(echo).layer(from_fn(hear))
}

async fn echo(target: Uri, headers: HeaderMap, body: String) -> String {
    let headers: Vec<_> =
        headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    json!({ "target": target.to_string(), "headers": headers, "body": body }).to_string()
}

fn unix_server(directory: &TempDir) -> (String, Arc<Notify>) {
    let path = directory.path().join("proxy.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let asked = Arc::new(Notify::new());
    tokio::spawn(axum::serve(listener, router(Arc::clone(&asked))).into_future());
    (format!("unix:{}", path.display()), asked)
}

fn client(proxy: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_example-client"));
    command.args(["--proxy", proxy, "-o", "json"]).args(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn run(proxy: &str, arguments: &[&str]) -> Output {
    client(proxy, arguments).output().await.unwrap()
}

fn printed(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[tokio::test]
async fn what_is_asked_arrives_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let (proxy, _) = unix_server(&directory);
    let twice = ["-H", "x-db-role: forged", "-H", "x-db-role:again"];
    let arguments = [["POST", "/a/../customers?x=%2e"].as_slice(), &twice, &["-d", "{}"]].concat();
    let output = run(&proxy, &arguments).await;
    let seen = &printed(&output)["body"];
    assert_eq!((&seen["target"], &seen["body"]), (&json!("/a/../customers?x=%2e"), &json!("{}")));
    let headers = seen["headers"].as_array().unwrap();
    for header in [
        json!(["x-db-role", "forged"]),
        json!(["x-db-role", "again"]),
        json!(["host", "localhost"]),
        json!(["content-type", "application/json"]),
    ] {
        assert!(headers.contains(&header), "{header} in {headers:?}");
    }
}

#[tokio::test]
async fn the_exit_code_tells_answered_denied_and_fault() {
    let directory = tempfile::tempdir().unwrap();
    let (proxy, _) = unix_server(&directory);
    for (status, code) in
        [("200", 0), ("201", 0), ("403", 1), ("404", 1), ("500", 2), ("503", 2), ("302", 2)]
    {
        let output = run(&proxy, &["GET", &format!("/status/{status}")]).await;
        let printed = printed(&output);
        assert_eq!(output.status.code(), Some(code), "{status}: {printed}");
        assert_eq!(printed["status"].to_string(), status);
        assert_eq!(printed["body"], "so it is\n");
    }
    let output = run("unix:/nowhere/at/all.sock", &["GET", "/"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(printed(&output)["fault"].as_str().unwrap().contains("the proxy cannot be reached"));
    let output = run("http://192.0.2.1:80", &["GET", "/"]).await;
    assert!(String::from_utf8_lossy(&output.stderr).contains("192.0.2.1:80 is another machine"));
}

#[tokio::test]
async fn a_load_uses_old_and_new_connections_and_counts_what_failed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let tenth_is_denied = async move || match count.fetch_add(1, Ordering::Relaxed) % 10 {
        9 => StatusCode::FORBIDDEN,
        _ => StatusCode::OK,
    };
    let router = Router::new().route("/", get(tenth_is_denied));
    tokio::spawn(axum::serve(listener, router).into_future());

    let output =
        run(&proxy, &["GET", "/", "--repeat=200", "--concurrency=2", "--new-connections=10"]).await;
    let report = printed(&output);
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert_eq!(asked.load(Ordering::Relaxed), 200);
    assert_eq!((&report["requests"], &report["failed"]), (&json!(200), &json!(20)), "{report}");
    assert_eq!(report["statuses"], json!({ "200": 180, "403": 20 }));
    // Twenty of two hundred, and the first of each worker.
    assert!((21..=22).contains(&report["connections"].as_u64().unwrap()), "{report}");
    assert!(report["milliseconds"]["p99"].as_f64().unwrap() > 0.0);
}

#[tokio::test]
async fn a_load_keeps_to_its_time_and_rate() {
    let directory = tempfile::tempdir().unwrap();
    let (proxy, _) = unix_server(&directory);
    let output = run(&proxy, &["GET", "/", "--seconds=1", "--rate=50", "--concurrency=4"]).await;
    let report = printed(&output);
    assert!(output.status.success() && report["requests"] == 50, "{report}");
}

#[tokio::test]
async fn a_load_ended_by_a_signal_reports_what_it_saw() {
    let directory = tempfile::tempdir().unwrap();
    let (proxy, asked) = unix_server(&directory);
    let child = client(&proxy, &["GET", "/", "--seconds=60"]).spawn().unwrap();
    asked.notified().await;
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").arg(pid).status().unwrap().success());
    let output = child.wait_with_output().await.unwrap();
    let report = printed(&output);
    assert!(output.status.success() && report["requests"].as_u64() > Some(0), "{report}");
}

#[tokio::test]
async fn a_server_that_never_answers_is_a_fault() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("silent.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    let proxy = format!("unix:{}", path.display());
    let output = run(&proxy, &["GET", "/", "--timeout=100ms"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(printed(&output)["fault"], "no answer within 100ms");
}
