//! A Postgres that offers TLS over the network says `N` on its Unix socket all the same, so nothing hides from the filter.

use std::{fs, os::unix::fs::PermissionsExt};

use e2e::{
    Mesh, PostgresVersion, Workload,
    startup::{gssenc_request, message, read_byte, ssl_request},
};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::scene::{POLICY, Wire, mesh, no_backends, svid};

/// Gives Postgres a certificate, and an address on which it serves TLS.
async fn offers_tls(mesh: &mut Mesh) {
    let (stage, owner) = (&mesh.stage, &mesh.stage.accounts.postgres);
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec![stage.address.to_string()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    let folder = stage.directory("postgres-tls", owner).unwrap();
    for (setting, text) in [("ssl_cert_file", certificate), ("ssl_key_file", key.serialize_pem())] {
        let file = folder.join(setting);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        owner.own(&file).unwrap();
        let sql = format!("alter system set {setting} = '{}'", file.display());
        mesh.postgres.sql(stage, "postgres", &sql).unwrap();
    }
    let address = format!("alter system set listen_addresses = '{}'", stage.address);
    for sql in ["alter system set ssl = on", &address] {
        mesh.postgres.sql(stage, "postgres", sql).unwrap();
    }
    mesh.postgres.restart(stage).await.unwrap();
    let mut network = TcpStream::connect((stage.address, 5432)).await.unwrap();
    network.write_all(&ssl_request()).await.unwrap();
    assert_eq!(read_byte(&mut network).await.unwrap(), b'S', "it offers no TLS at all");
}

async fn tls_of_postgres_changes_nothing(version: PostgresVersion) {
    let mut mesh = mesh(version, POLICY).await;
    offers_tls(&mut mesh).await;
    let svid = svid(&mesh, Workload::Api);
    let requests = [vec![], vec![ssl_request()], vec![gssenc_request(), ssl_request()]];
    for requests in requests {
        let mut wire = Wire::connect(&mesh, &svid).await;
        for request in &requests {
            wire.send(request).await;
            assert_eq!(read_byte(&mut wire.stream).await.unwrap(), b'N');
        }
        wire.send(&message(&[("user", "customers_reader"), ("database", "customers")])).await;
        wire.ready().await;
        let inside =
            "select ssl || ' ' || session_user from pg_stat_ssl where pid = pg_backend_pid()";
        assert_eq!(
            wire.value(inside).await,
            "false customers_reader",
            "{} requests",
            requests.len()
        );
    }
    // A driver that would rather have TLS, through its sidecar.
    let directory = &mesh.sidecar(Workload::Api).directory;
    let (code, out, err) =
        e2e::Launch::new("psql", mesh.stage.programs.psql().unwrap(), &mesh.stage.accounts.mesh)
            .args(["--no-psqlrc", "-At", "--command", "select session_user"])
            .arg(format!(
                "host={} user=customers_reader dbname=customers sslmode=prefer",
                directory.display()
            ))
            .ended("")
            .unwrap();
    assert_eq!((code, out.trim()), (Some(0), "customers_reader"), "{err}");
    no_backends(&mesh).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_of_postgres_changes_nothing_with_15() {
    tls_of_postgres_changes_nothing(PostgresVersion::V15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_of_postgres_changes_nothing_with_18() {
    tls_of_postgres_changes_nothing(PostgresVersion::V18).await;
}
