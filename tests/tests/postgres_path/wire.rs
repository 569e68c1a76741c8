//! What a start-up may say, and what becomes of it in Postgres.

use e2e::{
    FetchedSvid, Mesh, PostgresVersion, Workload,
    startup::{self, PROTOCOL_3_0, PROTOCOL_3_2, message_of, ssl_request},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::scene::{POLICY, Wire, mesh, no_backends, svid};

use PostgresVersion::{V15, V18};

/// `_pq_.` options and minor versions that no server knows yet.
const PROTOCOL_3_9999: u32 = 0x0003_270f;
const PROTOCOL_2_0: u32 = 0x0002_0000;

/// Asks as the API for a session in `customers` with these parameters besides; who and what it is in Postgres, or the
/// SQLSTATE that it got instead.
async fn ask(
    mesh: &Mesh,
    svid: &FetchedSvid,
    parameters: &[(&str, &str)],
    show: &str,
) -> Result<String, String> {
    let asked = [&[("user", "customers_reader"), ("database", "customers")], parameters].concat();
    let mut wire = Wire::connect(mesh, svid).await;
    wire.send(&startup::message(&asked)).await;
    loop {
        match wire.read().await.expect("no answer") {
            (b'E', body) => return Err(startup::field(&body, b'C')),
            (b'Z', _) => return Ok(wire.value(show).await),
            _ => {}
        }
    }
}

/// Parameters, what is asked afterwards, and the answer or the SQLSTATE.
type Case =
    (&'static [(&'static str, &'static str)], &'static str, Result<&'static str, &'static str>);

const WHO: &str = "select session_user || ' ' || current_user || ' ' || current_database()";
const ID: &str = "spiffe://example.org/ns/api-ns/sa/api";
/// 63 bytes, and one more.
const LONGEST: &str = "x123456789x123456789x123456789x123456789x123456789x123456789xyz";
const TOO_LONG: &str = "x123456789x123456789x123456789x123456789x123456789x123456789xyzz";

const CASES: &[Case] = &[
    (&[], WHO, Ok("customers_reader customers_reader customers")),
    // Of two the last wins.
    (&[("user", "customers_writer")], WHO, Ok("customers_writer customers_writer customers")),
    (&[("user", "postgres")], WHO, Err("28000")),
    (
        &[("user", "postgres"), ("user", "customers_writer")],
        "select session_user",
        Ok("customers_writer"),
    ),
    (&[("database", "postgres")], WHO, Err("3D000")),
    (&[("USER", "postgres")], WHO, Err("42501")),
    (&[("user", TOO_LONG)], WHO, Err("08P01")),
    (&[("database", TOO_LONG)], WHO, Err("08P01")),
    (&[("user", LONGEST)], WHO, Err("28000")),
    // What any client may set, in the packet, in options in three spellings, in any case.
    (&[("DATESTYLE", "SQL, DMY")], "show datestyle", Ok("SQL, DMY")),
    (&[("options", "-c lock_timeout=7s")], "show lock_timeout", Ok("7s")),
    (&[("options", "-clock_timeout=8s")], "show lock_timeout", Ok("8s")),
    (&[("options", "  --lock-timeout=9s ")], "show lock_timeout", Ok("9s")),
    (&[("options", r"-c TimeZone=Etc/\UTC")], "show timezone", Ok("Etc/UTC")),
    (&[("options", "--lock_timeout=9s"), ("lock_timeout", "6s")], "show lock_timeout", Ok("6s")),
    (&[("options", "--work_mem=3MB")], "show work_mem", Ok("3MB")),
    (
        &[("client_encoding", "UTF8"), ("extra_float_digits", "2")],
        "show extra_float_digits",
        Ok("2"),
    ),
    // What nobody may.
    (&[("role", "customers_writer")], WHO, Err("42501")),
    (&[("ROLE", "customers_writer")], WHO, Err("42501")),
    (&[("session_authorization", "postgres")], WHO, Err("42501")),
    (&[("search_path", "pg_temp")], WHO, Err("42501")),
    (&[("options", "-c role=customers_writer")], WHO, Err("42501")),
    (&[("options", "--Role=customers_writer")], WHO, Err("42501")),
    (&[("options", r"--r\ole=customers_writer")], WHO, Err("42501")),
    (&[("options", "-c\tsearch_path=x")], WHO, Err("42501")),
    (&[("options", "--search-path=x")], WHO, Err("42501")),
    (&[("options", "--lock_timeout=1s --session-authorization=postgres")], WHO, Err("42501")),
    (&[("options", "-d5")], WHO, Err("42501")),
    (&[("options", "-r out")], WHO, Err("42501")),
    (&[("options", "role=x")], WHO, Err("42501")),
    (&[("options", "-c")], WHO, Err("08P01")),
    (&[("local_preload_libraries", "x")], WHO, Err("42501")),
    (&[("replication", "true")], WHO, Err("42501")),
    (&[("replication", "database")], WHO, Err("42501")),
    (&[("Replication", "database")], WHO, Err("42501")),
    // The rule's settings, ours, and what was forged in their place.
    (&[], "show search_path", Ok("public")),
    (&[], "show signet.spiffe_id", Ok(ID)),
    (&[("signet.spiffe_id", "forged")], "show signet.spiffe_id", Ok(ID)),
    (&[("Signet.Rule", "forged")], "show signet.rule", Ok("api-writes")),
    (&[("options", "-c signet.spiffe_id=forged")], "show signet.spiffe_id", Ok(ID)),
    // An application that names itself not.
    (&[], "show application_name", Ok(ID)),
    (&[("application_name", "psql")], "show application_name", Ok("psql")),
    (&[("options", "--Application-Name=x")], "show application_name", Ok("x")),
    // Cut by Postgres, as it would be without us.
    (&[("application_name", TOO_LONG)], "show application_name", Ok(LONGEST)),
];

async fn start_ups_say_what_they_may(version: PostgresVersion) {
    let mesh = mesh(version, POLICY).await;
    let svid = svid(&mesh, Workload::Api);
    let forked = mesh.postgres.backends_forked();
    let mut sessions = 0;
    for (parameters, show, expected) in CASES {
        let found = ask(&mesh, &svid, parameters, show).await;
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(found, expected, "{parameters:?}");
        sessions += usize::from(found.is_ok());
    }
    assert_eq!(mesh.postgres.backends_forked(), forked + sessions);
    versions_are_relayed(&mesh, &svid, version).await;
    broken_packets_end_as_in_postgres(&mesh, &svid).await;
    who_leaves_amid_its_start_up_is_gone(&mesh, &svid).await;
    no_backends(&mesh).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn start_ups_say_what_they_may_to_postgres_15() {
    start_ups_say_what_they_may(V15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn start_ups_say_what_they_may_to_postgres_18() {
    start_ups_say_what_they_may(V18).await;
}

/// Versions are Postgres' to negotiate; what it says arrives as it says it.
async fn versions_are_relayed(mesh: &Mesh, svid: &FetchedSvid, postgres: PostgresVersion) {
    let asked = [("user", "customers_reader"), ("database", "customers"), ("_pq_.new", "1")];
    for (version, pq, negotiated, key) in [
        (PROTOCOL_3_0, false, None, 4),
        (PROTOCOL_3_2, false, (postgres == V15).then_some(0), if postgres == V15 { 4 } else { 32 }),
        (PROTOCOL_3_0, true, Some(0), 4),
        (PROTOCOL_3_9999, true, Some(if postgres == V15 { 0 } else { 2 }), 0),
    ] {
        let mut wire = Wire::connect(mesh, svid).await;
        wire.send(&message_of(version, &asked[..if pq { 3 } else { 2 }])).await;
        let messages = wire.ready().await;
        let of = |wanted| messages.iter().find(|(kind, _)| *kind == wanted).map(|(_, body)| body);
        // NegotiateProtocolVersion: the newest minor version, and the options that are not known.
        let told = of(b'v').map(|body| body[3]);
        assert_eq!(told, negotiated, "{version:x} {pq}");
        assert_eq!(of(b'v').is_some_and(|body| body.ends_with(b"_pq_.new\0")), pq);
        let size = of(b'K').unwrap().len() - 4;
        assert!(size == key || (key == 0 && size >= 4), "{version:x}: a key of {size} bytes");
        assert_eq!(wire.value("select session_user").await, "customers_reader");
    }
    // An answer of a form of its own: E, a text, NUL.
    let mut wire = Wire::connect(mesh, svid).await;
    wire.send(&message_of(PROTOCOL_2_0, &asked)).await;
    let mut answer = Vec::new();
    let _ = wire.stream.read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer);
    assert!(text.starts_with('E') && text.contains("unsupported frontend protocol 2.0"), "{text}");
}

/// An answer where Postgres gives one, and else nothing; never a session, never a backend.
async fn broken_packets_end_as_in_postgres(mesh: &Mesh, svid: &FetchedSvid) {
    let good = startup::message(&[("user", "customers_reader"), ("database", "customers")]);
    let with_length = |length: u32| [&length.to_be_bytes(), &good[4..]].concat();
    let layout = Some("08P01".to_owned());
    let forked = mesh.postgres.backends_forked();
    let mut sent = Vec::new();
    for (packet, expected) in [
        (with_length(0), None),
        (with_length(7), None),
        (with_length(10_005), None),
        (with_length(0x8000_0000), None),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), None),
        // The terminator is not the last byte, or not there.
        (
            [with_length(u32::try_from(good.len()).unwrap() + 1), b"x".to_vec()].concat(),
            layout.clone(),
        ),
        (with_length(u32::try_from(good.len()).unwrap() - 1), layout.clone()),
        ([0_u32.to_be_bytes(), 0_u32.to_be_bytes()].concat(), None),
        (vec![0, 0, 0, 9, 4, 210, 22, 47, 0], layout.clone()),
        (vec![0, 0, 0, 12, 4, 210, 22, 46, 0, 0, 0, 1], layout),
        ([ssl_request(), b"x".to_vec()].concat(), None),
    ] {
        let mut wire = Wire::connect(mesh, svid).await;
        wire.send(&packet).await;
        sent.push((wire, packet, expected));
    }
    for (mut wire, packet, expected) in sent {
        let word = wire.last_word().await.map(|word| word.sqlstate);
        assert_eq!(word, expected, "{packet:?}");
    }
    assert_eq!(mesh.postgres.backends_forked(), forked);
}

/// At once, and not when its time is over.
async fn who_leaves_amid_its_start_up_is_gone(mesh: &Mesh, svid: &FetchedSvid) {
    let packet = startup::message(&[("user", "customers_reader"), ("database", "customers")]);
    let mut wire = Wire::connect(mesh, svid).await;
    wire.send(&packet[..packet.len() - 1]).await;
    wire.stream.shutdown().await.unwrap();
    assert_eq!(wire.last_word().await, None);
    let envoy = &mesh.sidecar(Workload::Db).envoy;
    let line = envoy.logged(0, |line| line["reason"] == "startup_cut_short").await.unwrap();
    assert_eq!((&line["spiffe_id"], &line["decision"]), (&ID.into(), &"refuse".into()));
}
