//! A mesh with a policy for these tests, and sessions by direct TLS, message by message.

use e2e::{
    FetchedSvid, Mesh, MeshPlan, PATIENCE, PostgresVersion, SourceKind, Workload,
    startup::{self, field, query, read_message},
    tls::TlsCaller,
    until,
};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::client::TlsStream;

/// The API may read and write, the report job reads; nobody else has a rule.
pub(crate) const POLICY: &str = r"
version: 1
trust_domain: example.org
session_grace: 1s
workloads:
  api: /ns/api-ns/sa/api
  report: /ns/report-ns/sa/report
  db: /ns/postgres-ns/sa/customer-db
postgres:
  - name: api-writes
    from: [api]
    to: [db]
    databases: [customers]
    login_role: customers_writer
    may_act_as: [customers_reader]
    client_parameters: [work_mem]
    settings: { search_path: public }
  - name: api-elsewhere
    from: [api]
    to: [db]
    databases: [products]
    login_role: nobody_here
  - name: report-reads
    from: [report]
    to: [db]
    databases: [customers]
    login_role: customers_reader
    on_svid_expiry: keep
";

/// Puts up a mesh with this policy, whose SVIDs outlive the test.
pub(crate) async fn mesh(version: PostgresVersion, policy: &str) -> Mesh {
    let plan = MeshPlan::new(SourceKind::DevAgent, version).svid_ttl(3600).policy(policy);
    plan.start().await.unwrap()
}

/// A workload's SVID, as good as its own.
pub(crate) fn svid(mesh: &Mesh, workload: Workload) -> FetchedSvid {
    mesh.source.fetch(&mesh.stage, workload).unwrap()
}

/// One of the filter's numbers in the database's Envoy.
pub(crate) async fn counted(mesh: &Mesh, name: &str) -> u64 {
    let name = format!("wasmcustom.signet_postgres_{name}");
    mesh.sidecar(Workload::Db).envoy.stat(&name).await.unwrap()
}

/// Connections that each worker of the database's Envoy has taken.
async fn taken(mesh: &Mesh) -> [u64; 2] {
    let port = mesh.ingress(Workload::Db).port();
    let envoy = &mesh.sidecar(Workload::Db).envoy;
    let by = async |worker: &str| {
        envoy.stat_sum(&format!("_{port}.{worker}.downstream_cx_total")).await.unwrap()
    };
    [by("worker_0").await, by("worker_1").await]
}

/// What came of the one connection that was opened meanwhile, and the worker that took it; none if it never came so far, or
/// if it was not the only one to be counted: Envoy counts one that it closes at once, for want of a filter, a moment later.
pub(crate) async fn taken_by<T>(
    mesh: &Mesh,
    connection: impl Future<Output = T>,
) -> (Option<usize>, T) {
    let before = taken(mesh).await;
    let outcome = connection.await;
    let after = taken(mesh).await;
    let only_one = after.iter().sum::<u64>() == before.iter().sum::<u64>() + 1;
    let by = after.iter().zip(before).position(|(after, before)| *after > before);
    (by.filter(|_| only_one), outcome)
}

/// Waits until Postgres serves nobody but whoever asks.
pub(crate) async fn no_backends(mesh: &Mesh) {
    const OTHERS: &str = "select count(*) from pg_stat_activity
        where backend_type = 'client backend' and pid <> pg_backend_pid()";
    until("Postgres has no sessions", PATIENCE, async || {
        let others = mesh.postgres.sql(&mesh.stage, "postgres", OTHERS)?;
        anyhow::ensure!(others == "0", "{others}");
        Ok(())
    })
    .await
    .unwrap();
}

/// A connection to the database's Envoy, by direct TLS.
pub(crate) struct Wire {
    pub(crate) stream: TlsStream<TcpStream>,
}

/// A message that speaks of an end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LastWord {
    pub(crate) sqlstate: String,
    pub(crate) message: String,
    pub(crate) detail: String,
    pub(crate) hint: String,
}

impl Wire {
    pub(crate) async fn connect(mesh: &Mesh, svid: &FetchedSvid) -> Self {
        Self::connect_to(mesh.ingress(Workload::Db), svid).await
    }

    pub(crate) async fn connect_to(address: std::net::SocketAddr, svid: &FetchedSvid) -> Self {
        Self::try_connect(address, svid).await.unwrap()
    }

    pub(crate) async fn try_connect(
        address: std::net::SocketAddr,
        svid: &FetchedSvid,
    ) -> anyhow::Result<Self> {
        let caller = TlsCaller::new(Some(svid), "postgresql")?;
        Ok(Self { stream: caller.connect(address).await?.stream })
    }

    /// A session in the database `customers` that is ready for its first query.
    pub(crate) async fn session(mesh: &Mesh, svid: &FetchedSvid) -> Self {
        Self::session_as(mesh, svid, "customers_reader").await
    }

    /// The same as this user.
    pub(crate) async fn session_as(mesh: &Mesh, svid: &FetchedSvid, user: &str) -> Self {
        let mut wire = Self::connect(mesh, svid).await;
        wire.send(&startup::message(&[("user", user), ("database", "customers")])).await;
        wire.ready().await;
        wire
    }

    /// Sends bytes; that the other side has gone away shows when it is read from.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    /// The next message; nothing at the end of the connection.
    pub(crate) async fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        let reading = tokio::time::timeout(PATIENCE * 2, read_message(&mut self.stream));
        reading.await.expect("the connection is silent").ok()
    }

    /// All messages up to the next `ReadyForQuery`.
    pub(crate) async fn ready(&mut self) -> Vec<(u8, Vec<u8>)> {
        let mut messages = Vec::new();
        loop {
            match self.read().await.expect("the connection ended early") {
                (b'Z', _) => return messages,
                (b'E', body) => panic!("{:?}", word(&body)),
                message => messages.push(message),
            }
        }
    }

    /// What a query says in its first column of its first row.
    pub(crate) async fn value(&mut self, sql: &str) -> String {
        self.send(&query(sql)).await;
        let messages = self.ready().await;
        let row = messages.iter().find(|(kind, _)| *kind == b'D');
        let value = row.and_then(|(_, body)| body.get(6..)).unwrap_or_default();
        String::from_utf8_lossy(value).into_owned()
    }

    /// The next error.
    pub(crate) async fn error(&mut self) -> LastWord {
        loop {
            let message = self.read().await.expect("the connection ended without an error");
            if let (b'E', body) = message {
                return word(&body);
            }
        }
    }

    /// Reads to the end of the connection: the last error on the way, if any.
    pub(crate) async fn last_word(&mut self) -> Option<LastWord> {
        let mut last = None;
        while let Some((kind, body)) = self.read().await {
            if kind == b'E' {
                last = Some(word(&body));
            }
        }
        last
    }
}

pub(crate) fn word(body: &[u8]) -> LastWord {
    let [sqlstate, message, detail, hint] = [b'C', b'M', b'D', b'H'].map(|it| field(body, it));
    LastWord { sqlstate, message, detail, hint }
}
