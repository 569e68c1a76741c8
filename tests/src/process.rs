//! A child process that ends with the value that holds it, and whose logs are kept.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::Write,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        LazyLock, Mutex,
        mpsc::{Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::{Account, Stage};

/// How long a process may take to end after being asked to.
const GRACE: Duration = Duration::from_secs(5);

/// Lines of each log that a failed test prints.
const SHOWN_ON_FAILURE: usize = 40;

/// What is to be started, and how it is asked to stop.
#[derive(Clone, Debug)]
pub struct Launch {
    name: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(String, OsString)>,
    account: Account,
    stop: Signal,
}

impl Launch {
    /// A program, the name that its logs get, and the account that it runs as.
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>, account: &Account) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            account: account.clone(),
            stop: Signal::TERM,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((key.to_owned(), value.as_ref().to_owned()));
        self
    }

    /// The signal that asks it to stop, if not SIGTERM.
    #[must_use]
    pub fn stopped_by(mut self, signal: Signal) -> Self {
        self.stop = signal;
        self
    }

    /// Starts it. It dies with this process, whatever happens to that.
    pub fn start(self, stage: &Stage) -> Result<Process> {
        let stdout = stage.logs().join(format!("{}.out", self.name));
        let stderr = stage.logs().join(format!("{}.log", self.name));
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(appended(&stdout)?).stderr(appended(&stderr)?);
        let child = spawn(command).with_context(|| format!("cannot start {}", self.name))?;
        Ok(Process { launch: self, child, stdout, stderr })
    }

    /// Runs it to its end and returns what it printed; any exit code but 0 is an error.
    pub fn output(self) -> Result<String> {
        let output = self.command().stdin(Stdio::null()).output();
        let output = output.with_context(|| format!("cannot run {}", self.name))?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("{} failed with {}: {printed}{}", self.name, output.status, complaint.trim());
        }
        Ok(printed)
    }

    /// Runs it to its end with this standard input, and returns its exit code and what it printed.
    pub fn ended(self, input: &str) -> Result<(Option<i32>, String, String)> {
        let mut command = self.command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {}", self.name))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that refuses its arguments doesn't read.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((output.status.code(), text(&output.stdout), text(&output.stderr)))
    }

    /// Runs it to its end and returns what it printed, whatever its exit code.
    pub async fn printed(self) -> Result<String> {
        let mut command = tokio::process::Command::from(self.command());
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
        let output = output.with_context(|| format!("cannot run {}", self.name))?;
        let printed = [output.stdout, output.stderr].concat();
        Ok(String::from_utf8_lossy(&printed).into_owned())
    }

    /// `setpriv` changes the account and ties the child's life to ours, then becomes the program.
    fn command(&self) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if self.account.uid != rustix::process::getuid().as_raw() {
            command.arg(format!("--reuid={}", self.account.uid));
            command.arg(format!("--regid={}", self.account.gid));
            command.arg("--clear-groups");
        }
        command.arg("--").arg(&self.program).args(&self.arguments);
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        // A Ctrl-C in the terminal is for us: we end our children in their order.
        command.current_dir("/").process_group(0);
        command
    }
}

/// A running child.
#[derive(Debug)]
pub struct Process {
    launch: Launch,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// What it printed so far.
    pub fn stdout(&self) -> String {
        fs::read_to_string(&self.stdout).unwrap_or_default()
    }

    /// What it logged so far.
    pub fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// The process' number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its exit status, if it has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// An error with its last words, if it has ended.
    pub fn alive(&mut self) -> Result<()> {
        match self.exited() {
            None => Ok(()),
            Some(status) => {
                bail!("{} ended with {status}: {}", self.launch.name, tail(&self.stderr, 5))
            }
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(id.context("no process number")?, signal)
            .with_context(|| format!("cannot signal {}", self.launch.name))
    }

    /// Ends it without a warning and waits for its end.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().with_context(|| format!("cannot kill {}", self.launch.name))?;
        self.child.wait().with_context(|| format!("cannot wait for {}", self.launch.name))?;
        Ok(())
    }

    /// Asks it to stop, and waits for its end.
    #[must_use]
    pub fn stopped(mut self) -> Self {
        self.stop();
        self
    }

    /// Starts it again, as it was started before; it must have ended.
    pub fn restart(self, stage: &Stage) -> Result<Self> {
        self.launch.clone().start(stage)
    }

    /// Asks it to stop, waits, and ends it if it does not.
    fn stop(&mut self) {
        if self.exited().is_some() || self.signal(self.launch.stop).is_err() {
            return;
        }
        let asked = Instant::now();
        while self.exited().is_none() {
            if asked.elapsed() > GRACE {
                // Nothing more can be done about a process that cannot be killed.
                let _ = self.kill();
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
        if thread::panicking() {
            for log in [&self.stdout, &self.stderr] {
                let words = tail(log, SHOWN_ON_FAILURE);
                if !words.is_empty() {
                    eprintln!("── the end of {}\n{words}", log.display());
                }
            }
        }
    }
}

fn appended(path: &Path) -> Result<File> {
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))
}

fn tail(path: &Path, lines: usize) -> String {
    let text = String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Starts a child from a thread that lives as long as this process, since the kernel ends the child
/// with the *thread* that started it, and a runtime's threads come and go.
fn spawn(command: Command) -> Result<Child> {
    type Order = (Command, Sender<std::io::Result<Child>>);
    static SPAWNER: LazyLock<Mutex<Sender<Order>>> = LazyLock::new(|| {
        let (orders, queue) = channel::<Order>();
        thread::spawn(move || {
            for (mut command, reply) in queue {
                // A caller that is gone wants no child; dropping the answer is right.
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let (reply, answer) = channel();
    let orders = SPAWNER.lock().map_err(|_| anyhow::anyhow!("a test failed while starting"))?;
    orders.send((command, reply)).context("the spawning thread is gone")?;
    drop(orders);
    Ok(answer.recv().context("the spawning thread is gone")??)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(stage: &Stage) -> Process {
        Launch::new("sleeper", "sleep", &stage.accounts.mesh).arg("600").start(stage).unwrap()
    }

    #[test]
    fn a_child_ends_with_its_value() {
        let stage = Stage::set(None).unwrap();
        let process = sleeper(&stage);
        let entry = PathBuf::from(format!("/proc/{}", process.id()));
        assert!(entry.exists());
        drop(process);
        assert!(!entry.exists());
    }

    #[test]
    fn a_child_outlives_the_thread_that_asked_for_it() {
        let stage = Stage::set(None).unwrap();
        let mut process = thread::scope(|scope| scope.spawn(|| sleeper(&stage)).join().unwrap());
        process.alive().unwrap();
    }

    #[test]
    fn what_ended_early_is_told_with_its_last_words() {
        let stage = Stage::set(None).unwrap();
        let launch = Launch::new("grumbler", "sh", &stage.accounts.mesh);
        let mut process = launch.args(["-c", "echo no fuel >&2; exit 3"]).start(&stage).unwrap();
        process.child.wait().unwrap();
        let complaint = process.alive().unwrap_err().to_string();
        assert!(
            complaint.contains("exit status: 3") && complaint.contains("no fuel"),
            "{complaint}"
        );
    }
}
