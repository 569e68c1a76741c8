//! The page in a real browser: headless Chromium.

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use support::{Agent, Authority, HOUR, Identity, PATIENCE, Server, eventually, hostile};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, UnixStream};
use tokio::process::{Child, ChildStdout};

const HEADLESS: [&str; 7] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--hide-scrollbars",
];

/// Lets the browser, which speaks TCP only, reach the admin socket.
async fn bridge(socket: &Path) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (address, socket) = (listener.local_addr().expect("bound"), socket.to_path_buf());
    tokio::spawn(async move {
        loop {
            let (mut browser, _) = listener.accept().await.expect("a connection");
            let socket = socket.clone();
            tokio::spawn(async move {
                let mut server = UnixStream::connect(socket).await.expect("the admin socket");
                let _ = tokio::io::copy_bidirectional(&mut browser, &mut server).await;
            });
        }
    });
    address
}

/// What Chromium prints. Its clock runs `virtual_time` ahead, while nothing is being fetched.
async fn chromium(virtual_time: Duration, arguments: Vec<String>) -> String {
    let profile = tempfile::tempdir().expect("a directory");
    let run = move || {
        let output = Command::new("chromium")
            .args(HEADLESS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("--virtual-time-budget={}", virtual_time.as_millis()))
            .args(arguments)
            .output()
            .expect("chromium is there; `cargo xtask setup chromium` installs it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    tokio::task::spawn_blocking(run).await.expect("no panic")
}

/// The seconds that a countdown was sent with, and what it shows.
fn countdown(dom: &str) -> (u64, &str) {
    let (_, rest) = dom.split_once("data-left=\"").expect("a countdown");
    let (left, rest) = rest.split_once("\">").expect("a value");
    let (shown, _) = rest.split_once('<').expect("a text");
    (left.parse().expect("seconds"), shown)
}

async fn started() -> (Server, Agent, impl Sized, String) {
    let server = Server::start("").await;
    let agent = Agent::serve(&server.at("agent.sock"));
    let ours = Authority::new("example.org");
    let identities =
        ["/ns/shop/sa/api", "/ns/shop/sa/report"].map(|path| Identity::new(&ours, path, HOUR));
    agent.issue(&[&identities[0], &identities[1]], &[&Authority::new("partner.example")]);
    let client = server.client().await;
    let mut streams = vec![
        client.secrets(&["default"], "").await,
        client.secrets(&["ROOTCA"], "").await,
        client.secrets(&["ALL"], "").await,
    ];
    for stream in &mut streams {
        stream.accept().await;
    }
    let peer = hostile::refuse(&server, hostile::TEXT).await;
    eventually("the refusal is shown", async || {
        server.get("/").1.contains("quarantined").then_some(())
    })
    .await;
    let page = format!("http://{}/", bridge(&server.at("admin.sock")).await);
    (server, agent, (streams, peer), page)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_ticks_and_no_script_but_ours_runs() {
    let (_server, _agent, _open, page) = started().await;
    let dom = chromium(Duration::from_secs(4), vec!["--dump-dom".into(), page]).await;
    assert!(dom.contains("<title>ready · sds-server</title>"), "{dom}");
    for part in ["spiffe://example.org/ns/shop/sa/api", "partner.example", "&lt;script&gt;"] {
        assert!(dom.contains(part), "`{part}` is missing in: {dom}");
    }
    assert_eq!(dom.matches("<script").count(), 1, "{dom}");
    assert_eq!(dom.matches("<img").count(), 0, "{dom}");
    let (left, shown) = countdown(&dom);
    let ticked: Vec<_> = (1..=4)
        .map(|passed| left - passed)
        .map(|s| format!("{} min {} s", s / 60, s % 60))
        .collect();
    assert!(ticked.iter().any(|expected| expected == shown), "{left} s is shown as {shown}");
}

/// `SCREENSHOT=file.png` keeps the picture for people to look at, `DARK=1` takes it in the dark.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_can_be_pictured() {
    let (server, _agent, _open, page) = started().await;
    let picture = std::env::var_os("SCREENSHOT").map_or(server.at("page.png"), Into::into);
    // 0 is dark.
    let scheme = u8::from(std::env::var_os("DARK").is_none());
    let arguments = vec![
        format!("--screenshot={}", picture.display()),
        format!("--blink-settings=preferredColorScheme={scheme}"),
        "--window-size=1200,1500".into(),
        page,
    ];
    chromium(Duration::from_secs(2), arguments).await;
    let bytes = std::fs::read(&picture).expect("a picture");
    assert!(bytes.starts_with(b"\x89PNG") && bytes.len() > 20_000, "{} bytes", bytes.len());
}

/// A browser that is steered over two pipes (its debugging protocol): its messages are JSON, each ended by a zero byte.
struct Steered {
    browser: Child,
    says: BufReader<ChildStdout>,
    session: Value,
    calls: u64,
    _profile: TempDir,
}

impl Steered {
    /// Opens `page`, whose timers run ten times as fast.
    async fn open(page: &str) -> Self {
        let profile = tempfile::tempdir().expect("a directory");
        let mut browser = tokio::process::Command::new("sh")
            .args(["-c", "exec chromium \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", "sh"])
            .args(HEADLESS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("--remote-debugging-pipe")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("a shell");
        let says = BufReader::new(browser.stdout.take().expect("a pipe"));
        let mut steered = Self { browser, says, session: Value::Null, calls: 0, _profile: profile };
        let target = steered.call("Target.createTarget", json!({ "url": "about:blank" })).await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        steered.session = steered.call("Target.attachToTarget", attach).await["sessionId"].take();
        let hurry = "const [every, timeout] = [setInterval, AbortSignal.timeout];
            setInterval = (work, pause) => every(work, pause / 10);
            AbortSignal.timeout = (pause) => timeout.call(AbortSignal, pause / 10);";
        steered.call("Page.enable", json!({})).await;
        steered.call("Page.addScriptToEvaluateOnNewDocument", json!({ "source": hurry })).await;
        steered.call("Page.navigate", json!({ "url": page })).await;
        steered
    }

    /// Waits until an expression has this value.
    async fn shows(&mut self, expression: &str, expected: &str) {
        let waiting = async {
            let asked = json!({ "expression": expression, "returnByValue": true });
            while self.call("Runtime.evaluate", asked.clone()).await["result"]["value"] != expected
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let shown = tokio::time::timeout(PATIENCE, waiting).await;
        shown.unwrap_or_else(|_| panic!("{expression} never is {expected}"));
    }

    /// What a method returns.
    async fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.calls += 1;
        let mut call = json!({ "id": self.calls, "method": method, "params": parameters });
        if !self.session.is_null() {
            call["sessionId"] = self.session.clone();
        }
        let to = self.browser.stdin.as_mut().expect("a pipe");
        to.write_all(format!("{call}\0").as_bytes()).await.expect("it listens");
        loop {
            let mut said = Vec::new();
            let saying = self.says.read_until(0, &mut said);
            tokio::time::timeout(PATIENCE, saying).await.expect("an answer in time").expect("said");
            let said: Value =
                serde_json::from_slice(said.strip_suffix(&[0]).expect("whole")).expect("JSON");
            // The others are events.
            if said["id"] == self.calls {
                assert!(said["error"].is_null(), "{method}: {said}");
                return said["result"].clone();
            }
        }
    }
}

/// A frozen process takes connections and says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_a_server_that_hangs_says_so_until_it_answers_again() {
    let (server, _agent, _open, page) = started().await;
    let mut browser = Steered::open(&page).await;
    let (title, state) = ("document.title", "document.querySelector('#state').className");
    browser.shows(title, "ready · sds-server").await;
    server.freeze();
    browser.shows(title, "no answer · sds-server").await;
    browser.shows(state, "pill bad").await;
    browser.shows("String(document.body.innerText.includes('/ns/shop/sa/api'))", "true").await;
    server.thaw();
    browser.shows(title, "ready · sds-server").await;
    browser.shows(state, "pill good").await;
}
