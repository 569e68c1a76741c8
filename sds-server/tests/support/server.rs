//! The server as a process with a private directory.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::{Client, eventually};

/// A running server; dropping it kills it, and prints its log when the test has failed.
pub(crate) struct Server {
    child: Child,
    pub(crate) directory: TempDir,
}

/// How a server is started.
pub(crate) struct Launch<'a> {
    pub(crate) directory: TempDir,
    /// The source; `$DIRECTORY` is the server's.
    pub(crate) source: &'a str,
    /// More keys of `listen`.
    pub(crate) listen: &'a str,
    /// More keys.
    pub(crate) addition: &'a str,
    pub(crate) log: &'a str,
    /// The user and the group; those of the test where that is nothing.
    pub(crate) user: Option<(u32, u32)>,
    /// Whether it lives in a pid namespace of its own, where the test's processes have no number.
    pub(crate) apart: bool,
}

const WORKLOAD_API: &str = "workload_api: { socket: 'unix://$DIRECTORY/agent.sock' }";

impl Default for Launch<'_> {
    fn default() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let (source, log) = (WORKLOAD_API, "trace");
        Self { directory, source, listen: "", addition: "", log, user: None, apart: false }
    }
}

impl Server {
    /// Starts the program with this configuration added to the listeners' and the source's.
    pub(crate) async fn start(addition: &str) -> Self {
        Self::start_in(tempfile::tempdir().expect("a directory"), addition).await
    }

    pub(crate) async fn start_in(directory: TempDir, addition: &str) -> Self {
        Self::start_listening(directory, "", addition).await
    }

    /// The same, with more keys of `listen`.
    pub(crate) async fn start_listening(directory: TempDir, listen: &str, addition: &str) -> Self {
        Self::launch(Launch { directory, listen, addition, ..Launch::default() }).await
    }

    /// Starts the program.
    pub(crate) async fn launch(launch: Launch<'_>) -> Self {
        let Launch { directory, source, listen, addition, log, user, apart } = launch;
        let at = |name: &str| directory.path().join(name).display().to_string();
        let text = config(&directory, source, listen, addition);
        std::fs::write(at("config.yaml"), text).expect("written");
        let written = std::fs::File::create(at("log")).expect("a log");
        let mut command = match user {
            None if apart => {
                let mut command = Command::new("unshare");
                command.args(["--pid", "--fork", "--kill-child", env!("CARGO_BIN_EXE_sds-server")]);
                command
            }
            None => Command::new(env!("CARGO_BIN_EXE_sds-server")),
            Some((uid, gid)) => {
                // Where the program lies, that user may not look. Copied by another process: nobody can start a file
                // that ours has open, and what it starts meanwhile for another test has it open for a moment too.
                let copied = Command::new("cp")
                    .args([env!("CARGO_BIN_EXE_sds-server"), &at("sds-server")])
                    .status();
                assert!(copied.expect("cp is there").success());
                std::os::unix::fs::chown(directory.path(), Some(uid), Some(gid)).expect("root");
                let mut command = Command::new(at("sds-server"));
                command.uid(uid).gid(gid).current_dir(directory.path());
                command
            }
        };
        // A test that plays systemd has made its socket.
        if directory.path().join("notify.sock").exists() {
            command.env("NOTIFY_SOCKET", at("notify.sock")).env("WATCHDOG_USEC", "1000000");
        }
        let child = command
            .args(["--config", &at("config.yaml"), "--log", log, "--log-format", "json"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(written)
            .spawn()
            .expect("the program starts");
        let server = Self { child, directory };
        eventually("the admin socket answers", async || server.try_get("/livez")).await;
        server
    }

    /// Replaces the configuration's file in one step, with other keys of `listen` and below.
    pub(crate) fn reconfigure(&self, listen: &str, addition: &str) {
        let config = config(&self.directory, WORKLOAD_API, listen, addition);
        std::fs::write(self.at("config.new"), config).expect("written");
        std::fs::rename(self.at("config.new"), self.at("config.yaml")).expect("renamed");
    }

    /// The TCP address that the server logged.
    pub(crate) async fn tcp_address(&self) -> SocketAddr {
        eventually("the TCP socket is logged", async || {
            let log = self.log();
            let line = log.lines().find(|line| line.contains("with mutual TLS"))?;
            let line: Value = serde_json::from_str(line).ok()?;
            line["address"].as_str()?.parse().ok()
        })
        .await
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.at("sds.sock")).await
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.at("log")).expect("the log is read")
    }

    /// The status and the body of a GET to the admin socket.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        self.try_get(path).expect("the admin socket answers")
    }

    fn try_get(&self, path: &str) -> Option<(u16, String)> {
        let (status, answer) =
            self.try_exchange(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n"), "")?;
        Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
    }

    /// The status and the whole answer to a request with this head.
    pub(crate) fn exchange(&self, head: &str, body: &str) -> (u16, String) {
        self.try_exchange(head, body).expect("the admin socket answers")
    }

    fn try_exchange(&self, head: &str, body: &str) -> Option<(u16, String)> {
        let mut stream = UnixStream::connect(self.at("admin.sock")).ok()?;
        let length = body.len();
        write!(stream, "{head}content-length: {length}\r\nconnection: close\r\n\r\n{body}").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some((answer.split(' ').nth(1)?.parse().ok()?, answer))
    }

    pub(crate) fn readiness(&self) -> Value {
        serde_json::from_str(&self.get("/readyz").1).expect("JSON")
    }

    /// Waits until `/readyz` gives `status` and its body contains `part`.
    pub(crate) async fn wait_for_readiness(&self, status: u16, part: &str) {
        eventually(&format!("/readyz is {status} with `{part}`"), async || {
            let (found, body) = self.get("/readyz");
            (found == status && body.contains(part)).then_some(())
        })
        .await;
    }

    pub(crate) fn metric(&self, line: &str) -> Option<u64> {
        let (_, metrics) = self.get("/metrics");
        metrics.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok())
    }

    /// Waits until so many changes of SVIDs had this result.
    pub(crate) async fn wait_for_svid_updates(&self, result: &str, count: u64) {
        let line = format!("signet_svid_updates_total{{result=\"{result}\"}}");
        eventually(&format!("{line} is {count}"), async || {
            (self.metric(&line)? >= count).then_some(())
        })
        .await;
    }

    pub(crate) fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    pub(crate) fn hang_up(&self) {
        self.signal(rustix::process::Signal::HUP);
    }

    /// Stops it in the midst of whatever it does.
    pub(crate) fn freeze(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    pub(crate) fn thaw(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    /// Makes it end as a fault in it would.
    pub(crate) fn crash(&self) {
        self.signal(rustix::process::Signal::ABORT);
    }

    /// Memory that it holds now, in KiB.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).expect("a number")
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("alive");
    }

    pub(crate) async fn wait_for_exit(&mut self) -> ExitStatus {
        let child = std::sync::Mutex::new(&mut self.child);
        eventually("the server exits", async || {
            child.lock().expect("unpoisoned").try_wait().expect("ours")
        })
        .await
    }

    /// Kills the server and leaves its directory to another.
    pub(crate) fn kill(mut self) -> TempDir {
        let _ = self.child.kill();
        let _ = self.child.wait();
        std::mem::replace(&mut self.directory, tempfile::tempdir().expect("a directory"))
    }
}

/// A configuration with sockets in `directory`.
fn config(directory: &TempDir, source: &str, listen: &str, addition: &str) -> String {
    let text = format!(
        "source: {{ {source} }}\nlisten: {{ path: $DIRECTORY/sds.sock, {listen} }}\nadmin: {{ listen: 'unix://$DIRECTORY/admin.sock' }}\n{addition}\n"
    );
    text.replace("$DIRECTORY", &directory.path().display().to_string())
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            // It may be another server's by now.
            let log = std::fs::read_to_string(self.at("log")).unwrap_or_default();
            let last: Vec<&str> =
                log.lines().rev().filter(|line| !line.contains("TRACE")).take(60).collect();
            eprintln!("--- end of the server's log, newest first\n{}", last.join("\n"));
        }
    }
}
