//! The other end of the control socket: `dev-agent ctl`.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, bail};

use crate::command::{Command, Reply};
use crate::serve::CONTROL_SOCKET;

/// Sends one command and prints what came of it, as JSON.
pub(crate) fn run(directory: &Path, command: &Command) -> anyhow::Result<()> {
    let reply = ask(&directory.join(CONTROL_SOCKET), command)?;
    let printed = match (reply, command) {
        (Reply::Refused(reason), _) => bail!(reason),
        (Reply::Done(status), _) => serde_json::to_value(status)?,
        (Reply::Minted { chain, key, bundle }, Command::Mint { out, .. }) => {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(out)
                .with_context(|| format!("{}", out.display()))?;
            write_private(&out.join("svid.pem"), &chain)?;
            write_private(&out.join("svid_key.pem"), &key)?;
            write_private(&out.join("svid_bundle.pem"), &bundle)?;
            serde_json::json!({ "written": out })
        }
        (Reply::Minted { .. }, _) => bail!("the agent answered {command:?} with a certificate"),
    };
    println!("{printed:#}");
    Ok(())
}

fn ask(socket: &Path, command: &Command) -> anyhow::Result<Reply> {
    let mut stream = UnixStream::connect(socket).with_context(|| {
        format!("no dev-agent listens on {}: start it with `dev-agent serve`", socket.display())
    })?;
    let mut line = serde_json::to_vec(command)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    serde_json::from_str(&answer).with_context(|| format!("the agent answered {answer:?}"))
}

/// Replaces the file, so that its mode is ours whoever wrote it before.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    if path.exists() {
        std::fs::remove_file(path)?;
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("{} could not be made", path.display()))?;
    Ok(file.write_all(text.as_bytes())?)
}
