use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::Processes;
use crate::config::{Config, DefaultSvid, Source};
use crate::metrics::Metrics;
use crate::policy::PolicyState;
use crate::sources::{CustodySettings, Node, NodeSettings, Pin};
use crate::xds::peer::{Account, Place};
use crate::xds::registry::Registry;
use crate::xds::resource::{Content, Kind, Version};
use crate::xds::rules::ResourceRules;
use crate::xds::session::{EnvoyId, Instance};

/// Of a broker that is not there.
fn processes() -> Processes {
    let config = "source: {broker: {socket: unix:///nobody, workload_api: unix:///nobody}}\nlisten: {path: /s}\n";
    let Source::Broker(broker) = Config::parse(config).expect("valid").source else {
        panic!("it is the broker's")
    };
    let metrics = Metrics::default();
    let custody = CustodySettings {
        default_svid: DefaultSvid::default(),
        hold: Duration::ZERO,
        withdrawal_delay: Duration::ZERO,
    };
    let settings = NodeSettings { custody, jwt_svids: 0, metrics: metrics.clone() };
    Processes::new(
        Node::by_broker(&broker, settings),
        watch::channel(PolicyState::absent()).1,
        Arc::new(ResourceRules::default()),
        Registry::new(metrics.clone()),
        metrics,
    )
}

#[tokio::test]
async fn what_the_envoys_of_a_process_refused_is_forgotten_with_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("s");
    let listener = UnixListener::bind(&socket).expect("bound");
    let program =
        "socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, sockaddr_un($ARGV[0])) or die $!; <STDIN>";
    let mut perl = Command::new("perl");
    perl.args(["-MSocket", "-e", program]).arg(&socket).stdin(Stdio::piped());
    let mut child = perl.spawn().expect("perl, which every Debian has");
    let (connection, _) = listener.accept().await.expect("a connection");
    let pin = Arc::new(Pin::take(&connection).expect("pinned"));

    let processes = processes();
    let (_seat, _) = processes.open(&pin).expect("it lives");
    let (mut quarantine, version) = (processes.quarantine().subscribe(), Version::of([]));
    let of = |pid| EnvoyId {
        account: Account::Process(pid),
        instance: Instance { place: Place::Process(Some(pid)), node: "sidecar".into() },
    };
    let (its, anothers) = (of(pin.pid()), of(pin.pid() + 1));
    let now = (Instant::now(), Instant::now());
    processes.quarantine().send_modify(|quarantine| {
        for envoy in [&its, &anothers] {
            let refused = (Content::Certificate, &version, "no");
            quarantine.record(envoy, Kind::Secret, "default", refused, now);
        }
    });

    drop(child.stdin.take());
    let forgotten = quarantine
        .wait_for(|quarantine| !quarantine.holds(&its, Kind::Secret, "default", &version));
    timeout(Duration::from_secs(20), forgotten).await.expect("in time").expect("the hub lives");
    assert!(quarantine.borrow().holds(&anothers, Kind::Secret, "default", &version));
    child.wait().expect("waited");
}
