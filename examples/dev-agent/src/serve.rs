//! The sockets and the process: bind all, say ready, serve until a signal, leave nothing behind.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use futures::stream::poll_fn;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::agent::Agent;
use crate::arguments::ServeArguments;
use crate::control;
use crate::view::Registration;
use crate::workload_api::WorkloadApi;

/// The name of the control socket in the agent's directory.
pub(crate) const CONTROL_SOCKET: &str = "control.sock";

/// How long open connections may take to end.
const STOP_DEADLINE: Duration = Duration::from_secs(3);

/// Serves until SIGTERM or SIGINT.
pub(crate) async fn run(arguments: ServeArguments) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let registrations = arguments.registrations()?;
    let directory = arguments.directory;
    let agent = Arc::new(Agent::new(
        arguments.trust_domain.clone(),
        arguments.svid_ttl,
        arguments.jwt_ttl,
        arguments.intermediate,
        registrations.clone(),
        stop.clone(),
    )?);

    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)
        .with_context(|| format!("directory {} could not be made", directory.display()))?;
    let mut tasks = start(&directory, arguments.socket_mode, &registrations, &agent, &stop)?;
    println!(
        "dev-agent ready: trust domain {}, workloads {} in {}",
        arguments.trust_domain,
        registrations.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
        directory.display()
    );

    let outcome = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        Some(ended) = tasks.join_next() => ended?.and_then(|()| bail!("a task ended before its time")),
    };
    stop.cancel();
    let ended = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_DEADLINE, ended).await.is_err() {
        tracing::warn!("open connections were cut after {STOP_DEADLINE:?}");
    }
    for socket in registrations.keys().map(|name| workload_socket(&directory, name)) {
        remove_socket(&socket)?;
    }
    remove_socket(&directory.join(CONTROL_SOCKET))?;
    outcome
}

fn start(
    directory: &Path,
    socket_mode: u32,
    registrations: &BTreeMap<String, Registration>,
    agent: &Arc<Agent>,
    stop: &CancellationToken,
) -> anyhow::Result<JoinSet<anyhow::Result<()>>> {
    let mut tasks = JoinSet::new();
    // The control socket first: it tells whether another agent already lives here.
    let control_listener = bind(&directory.join(CONTROL_SOCKET), 0o600)?;
    for name in registrations.keys() {
        let socket = workload_socket(directory, name);
        let listener = bind(&socket, socket_mode)?;
        tasks.spawn(serve_workload(
            socket,
            socket_mode,
            listener,
            name.clone(),
            Arc::clone(agent),
            stop.clone(),
        ));
    }
    tasks.spawn({
        let (agent, stop) = (Arc::clone(agent), stop.clone());
        async move {
            control::serve(control_listener, agent, stop).await;
            Ok(())
        }
    });
    tasks.spawn({
        let (agent, stop) = (Arc::clone(agent), stop.clone());
        async move {
            stop.run_until_cancelled(agent.renew()).await;
            Ok(())
        }
    });
    Ok(tasks)
}

/// Serves one workload, from one `drop` to the next.
async fn serve_workload(
    socket: PathBuf,
    socket_mode: u32,
    mut listener: UnixListener,
    name: String,
    agent: Arc<Agent>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut conduct = agent.conduct();
    loop {
        let connections = agent.connections();
        let service = WorkloadApi::service(Arc::clone(&agent), name.clone(), connections.clone());
        let incoming =
            poll_fn(|context| listener.poll_accept(context).map_ok(|(stream, _)| stream).map(Some));
        Server::builder()
            .add_service(service)
            .serve_with_incoming_shutdown(incoming, connections.cancelled_owned())
            .await?;
        if stop.is_cancelled() {
            return Ok(());
        }
        if !conduct.borrow().listening {
            drop(listener);
            remove_socket(&socket)?;
            let resumed = conduct.wait_for(|conduct| conduct.listening);
            let Some(resumed) = stop.run_until_cancelled(resumed).await else { return Ok(()) };
            resumed?;
            listener = bind(&socket, socket_mode)?;
        }
    }
}

fn workload_socket(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.sock"))
}

/// Binds a socket. One that a killed agent left behind is replaced, one that answers is not, and no other file is.
fn bind(path: &Path, mode: u32) -> anyhow::Result<UnixListener> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        bail!("another process already listens on {}", path.display());
    }
    remove_socket(path)?;
    let listener = UnixListener::bind(path)
        .with_context(|| format!("{} could not be bound", path.display()))?;
    std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok(listener)
}

fn remove_socket(path: &Path) -> anyhow::Result<()> {
    match path.symlink_metadata() {
        Ok(found) if found.file_type().is_socket() => Ok(std::fs::remove_file(path)
            .with_context(|| format!("{} could not be removed", path.display()))?),
        Ok(_) => bail!("{} is in the way: it is not a socket", path.display()),
        Err(_) => Ok(()),
    }
}
