//! The whole server: [`Server::build`] validates and binds, [`Server::run`] owns the tasks.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::admin::{Admin, AdminListener, Health, SourceReport};
use crate::config::{Config, ConfigFile, DefaultSvid, Reloader, Source, UnixAddress};
use crate::herald::Herald;
use crate::logging::LogControl;
use crate::metrics::Metrics;
use crate::policy::{PolicyKeeper, PolicyState};
use crate::sources::jwt::{JwtSupply, WorkloadApiIssuer};
use crate::sources::workload_api::WorkloadApiSource;
use crate::sources::{
    Custodian, Custody, CustodySettings, Identities, Node, NodeSettings, Reached,
};
use crate::systemd::Started;
use crate::xds::registry::Registry;
use crate::xds::{
    Hub, Identification, ListenError, Listeners, Processes, Publisher, ResourceRules, Views, serve,
};

/// A server that is bound and ready to run.
#[derive(Debug)]
pub struct Server {
    file: ConfigFile,
    rules: Arc<ResourceRules>,
    listeners: Listeners,
    admin: Option<AdminListener>,
    log: LogControl,
}

/// Why a server stopped otherwise than asked.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A listener cannot be made.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The configuration contradicts itself.
    #[error("configuration: {0}")]
    Configuration(String),
    /// The system does not let the process protect itself.
    #[error(
        "the process cannot forbid dumps of its memory: {0}; `process.dumpable: true` does without"
    )]
    Hardening(#[source] std::io::Error),
    /// A task that the server cannot do without has ended.
    #[error("the task `{0}` ended by itself")]
    TaskEnded(&'static str),
}

impl Server {
    /// Protects the process and binds the listeners. Port 0 becomes a real one, which is logged.
    pub async fn build(file: ConfigFile, log: LogControl) -> Result<Self, ServerError> {
        let config = file.config();
        let rules = Arc::new(ResourceRules::of(config).map_err(ServerError::Configuration)?);
        if config.process.dumpable {
            warn!("process.dumpable is on: others of the same user can read the private keys");
        } else {
            crate::hardening::forbid_dumps()
                .map_err(|error| ServerError::Hardening(error.into()))?;
        }
        if let Err(error) = crate::hardening::raise_open_files() {
            warn!(%error, "the limit of open files stays as it is");
        }
        let listeners = Listeners::bind(config).await?;
        let mut admin = None;
        if let Some(wanted) = &config.admin {
            let (listener, address) = AdminListener::bind(&wanted.listen).await?;
            info!(address, "serving the admin pages");
            admin = Some(listener);
        }
        Ok(Self { file, rules, listeners, admin, log })
    }

    /// Serves until `stop`, then lets open streams end. A task that ends early is an error.
    pub async fn run(self, stop: CancellationToken) -> Result<(), ServerError> {
        let Self { file, rules, listeners, admin, log } = self;
        let config = Config::clone(file.config());
        let metrics = Metrics::default();
        let registry = Registry::new(metrics.clone());
        let mut tasks = Tasks::new(stop.clone());

        let started = Started::default();
        let (reloader, live, configuration) = Reloader::new(file, metrics.clone(), started.clone());
        tasks.spawn("configuration", reloader.run(stop.clone()));

        // Where there is no policy, its state never changes; its writer lives as long as the
        // server.
        let (_absent, mut policy) = watch::channel(PolicyState::absent());
        if let Some(document) = config.policy {
            let (keeper, state) = PolicyKeeper::new(document.file, config.filters, metrics.clone());
            tasks.spawn("policy", keeper.run(stop.clone()));
            policy = state;
        }

        let wiring = Wiring {
            custody: CustodySettings {
                default_svid: config.default_svid,
                hold: config.rotation.hold.duration(),
                withdrawal_delay: config.rotation.withdrawal_delay.duration(),
            },
            policy: policy.clone(),
            rules,
            jwt_svids: config.limits.jwt_svids,
            registry: Arc::clone(&registry),
            metrics: metrics.clone(),
            stop: stop.clone(),
        };
        let reported = SourceReport::of(&config.source);
        let Connected { views, identities, broker } = wiring.connect(config.source, &mut tasks);

        // The admin listener outlives the streams, so that /readyz can say that the server is
        // stopping.
        let end = CancellationToken::new();
        let health = Health {
            purpose: reported.purpose(),
            identities: identities.clone(),
            broker,
            policy,
            published: views.published(),
            configuration,
            stop: stop.clone(),
        };
        if let Some(admin) = admin {
            let pages = Admin {
                health: health.clone(),
                source: reported,
                metrics,
                registry: Arc::clone(&registry),
                attended: views.attended(),
                log,
                started: SystemTime::now(),
            };
            let end = end.clone();
            tasks.spawn("admin", async move { log_error("admin", admin.serve(pages, end).await) });
        }

        let identification = Identification::new(identities, live.clone());
        let (incoming, socket) = listeners.open(live.clone(), identification, &registry);
        let hub = Hub::new(views, registry, live.clone(), stop.clone());
        let herald = Herald::new(health, hub.health(), started).await;
        tasks.spawn("herald", herald.run());
        let streams = TaskTracker::new();
        tasks.spawn("xds", streams.track_future(serve(hub, incoming)));
        streams.close();

        let ended = tasks.wait_for_stop_or_end().await;
        stop.cancel();
        let deadline = live.borrow().drain.duration();
        drain(&streams, deadline).await;
        end.cancel();
        tasks.finish(Duration::from_secs(1)).await;
        drop(socket);
        ended
    }
}

/// What a source is connected to.
struct Wiring {
    custody: CustodySettings,
    policy: watch::Receiver<PolicyState>,
    rules: Arc<ResourceRules>,
    /// See `limits.jwt_svids`.
    jwt_svids: usize,
    registry: Arc<Registry>,
    metrics: Metrics,
    stop: CancellationToken,
}

/// What a source gives.
struct Connected {
    /// What connections will see.
    views: Views,
    /// The server's own.
    identities: watch::Receiver<Identities>,
    /// Whether the broker can be reached, where there is one.
    broker: Option<watch::Receiver<Reached>>,
}

impl Wiring {
    /// Starts the source.
    fn connect(self, source: Source, tasks: &mut Tasks) -> Connected {
        match source {
            Source::WorkloadApi(workload_api) => {
                let identities = self.own_identities(
                    workload_api.socket.clone(),
                    self.custody.default_svid.clone(),
                    tasks,
                );
                let issuer = WorkloadApiIssuer::new(workload_api.socket);
                let (jwt, keeper) = JwtSupply::of(issuer, self.jwt_svids, self.metrics);
                tasks.spawn("jwt", keeper.run(self.stop.clone()));
                let (publisher, catalogue) =
                    Publisher::new(identities.clone(), self.policy, jwt, self.rules, self.registry);
                tasks.spawn("publisher", publisher.run(self.stop));
                Connected { views: Views::Shared(catalogue), identities, broker: None }
            }
            Source::Broker(broker) => {
                let identities = self.own_identities(
                    broker.workload_api.clone(),
                    // The operator's choice of a default is for the processes.
                    DefaultSvid { spiffe_id: broker.spiffe_id.clone(), hint: None },
                    tasks,
                );
                let node = Node::by_broker(&broker, self.node_settings());
                let (broker, watching) = node.watch_broker(identities.clone());
                let stop = self.stop.clone();
                tasks.spawn("broker", async move {
                    stop.run_until_cancelled(watching).await;
                });
                Connected { views: self.per_process(node), identities, broker: Some(broker) }
            }
            Source::Delegated(delegated) => {
                warn!("source.delegated: this server can impersonate every workload of the agent");
                let (node, bundles, identities) =
                    Node::by_delegation(delegated, self.node_settings());
                let stop = self.stop.clone();
                tasks.spawn("bundles", async move {
                    stop.run_until_cancelled(bundles).await;
                });
                Connected { views: self.per_process(node), identities, broker: None }
            }
        }
    }

    /// Takes care of the server's own identities.
    fn own_identities(
        &self,
        api: UnixAddress,
        default_svid: DefaultSvid,
        tasks: &mut Tasks,
    ) -> watch::Receiver<Identities> {
        let (source, reports) = WorkloadApiSource::new(api, self.metrics.clone());
        tasks.spawn("source", source.run(self.stop.clone()));
        let custody = Custody::new(CustodySettings { default_svid, ..self.custody.clone() });
        let (custodian, identities) = Custodian::new(custody, reports, self.metrics.clone());
        tasks.spawn("custodian", custodian.run(self.stop.clone()));
        identities
    }

    /// How each process of a node is looked after.
    fn node_settings(&self) -> NodeSettings {
        NodeSettings {
            custody: self.custody.clone(),
            jwt_svids: self.jwt_svids,
            metrics: self.metrics.clone(),
        }
    }

    fn per_process(self, node: Node) -> Views {
        let Self { policy, rules, registry, metrics, .. } = self;
        Views::PerProcess(Box::new(Processes::new(node, policy, rules, registry, metrics)))
    }
}

/// Waits for the streams to end; what is open after `deadline` is aborted with its task.
async fn drain(streams: &TaskTracker, deadline: Duration) {
    info!(deadline_ms = deadline.as_millis(), "stopping: closing streams");
    if tokio::time::timeout(deadline, streams.wait()).await.is_err() {
        warn!("some connections were still open at the deadline; aborting them");
    }
}

fn log_error<E: std::fmt::Display>(task: &'static str, result: Result<(), E>) {
    if let Err(error) = result {
        error!(task, %error, "a task failed");
    }
}

/// The named tasks of a server.
#[derive(Debug)]
struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    abort: CancellationToken,
    ended: (mpsc::Sender<&'static str>, mpsc::Receiver<&'static str>),
}

impl Tasks {
    fn new(stop: CancellationToken) -> Self {
        Self {
            tracker: TaskTracker::new(),
            stop,
            abort: CancellationToken::new(),
            ended: mpsc::channel(1),
        }
    }

    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let (abort, ended) = (self.abort.clone(), self.ended.0.clone());
        // Whoever reports first stops the server; the others have nothing to add.
        let report = Ended { name, ended };
        self.tracker.spawn(async move {
            let _report = report;
            abort.run_until_cancelled(task).await;
        });
    }

    async fn wait_for_stop_or_end(&mut self) -> Result<(), ServerError> {
        tokio::select! {
            () = self.stop.cancelled() => Ok(()),
            name = self.ended.1.recv() => match name {
                // A task that ends because it was told to may be heard before the order is.
                Some(name) if !self.stop.is_cancelled() => Err(ServerError::TaskEnded(name)),
                _ => Ok(()),
            },
        }
    }

    /// Waits for all tasks; those that are left after `deadline` are aborted.
    async fn finish(self, deadline: Duration) {
        self.tracker.close();
        if tokio::time::timeout(deadline, self.tracker.wait()).await.is_err() {
            self.abort.cancel();
            self.tracker.wait().await;
        }
    }
}

/// Says that a task is over, however it ended: a panic drops it too.
struct Ended {
    name: &'static str,
    ended: mpsc::Sender<&'static str>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.ended.try_send(self.name);
    }
}
