//! A private key that is searched for everywhere but in the answers to those who may have it.

mod support;

use std::fmt::Write;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;

use pem_rfc7468::{LineEnding, encode_string};
use support::{
    Agent, Authority, Client, HOUR, Identity, Launch, NOBODY, Server, as_user, eventually, key,
};

/// How a key may look in a text or a dump: its secret bytes as they are, in hex, in decimal, and
/// the lines of its PEM.
fn disguises(key: &[u8]) -> Vec<Vec<u8>> {
    // PKCS#8 of a P-256 key: the secret number is 32 bytes from 36 on.
    let secret = &key[36..68];
    let hex = hex::encode(secret);
    let list = |separator: &str, form: fn(&u8) -> String| {
        secret.iter().map(form).collect::<Vec<_>>().join(separator)
    };
    let escaped = secret.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "\\x{byte:02x}");
        text
    });
    let mut texts = vec![
        hex.to_uppercase(),
        hex,
        list(":", |byte| format!("{byte:02x}")),
        list(" ", |byte| format!("{byte:02x}")),
        list(", ", u8::to_string),
        list(",", u8::to_string),
        escaped,
        secret.escape_ascii().to_string(),
    ];
    // Base64 may begin anywhere: PEM, a JSON of it, the raw secret at each of three positions.
    let pem = encode_string("PRIVATE KEY", LineEnding::LF, key).expect("PEM");
    texts.extend(pem.lines().skip(1).take(2).map(str::to_owned));
    for skipped in 0..3 {
        let base64 =
            encode_string("X", LineEnding::LF, &secret[skipped..skipped + 27]).expect("PEM");
        texts.push(base64.lines().nth(1).expect("a line").to_owned());
    }
    let mut disguises: Vec<Vec<u8>> = texts.into_iter().map(String::into_bytes).collect();
    disguises.push(secret.to_vec());
    disguises
}

fn shows(text: &[u8], disguises: &[Vec<u8>]) -> bool {
    disguises.iter().any(|disguise| text.windows(disguise.len()).any(|found| found == disguise))
}

const LISTEN: &str =
    "tcp: { address: '127.0.0.1:0', allow: [{ peer: spiffe://example.org/edge, names: ['*'] }] }";

#[tokio::test]
async fn a_key_is_in_no_log_no_page_and_no_metric() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = Server::start_listening(directory, LISTEN, "").await;
    let agent = Agent::serve(&server.at("agent.sock"));
    let authority = Authority::new("example.org");
    let identities = [
        Identity::new(&authority, "/other", HOUR),
        Identity::new(&authority, "/server", HOUR),
        Identity::new(&authority, "/other", HOUR),
        Identity::new(&authority, "/server", HOUR),
    ];
    // The default SVID is the smallest ID.
    let [other, first, renewed_other, renewed] = &identities;
    let canaries: Vec<_> = identities.iter().flat_map(|one| disguises(&one.key)).collect();

    agent.issue(&[first, other], &[]);
    server.wait_for_readiness(200, "").await;
    let client = server.client().await;
    let mut stream = client.secrets(&["default", "spiffe://example.org/server"], "").await;
    let pushed = [stream.next().await, stream.next().await];
    // The search would find what is sent: it is the key.
    for pushed in &pushed {
        let secret = pushed.secret();
        assert!(shows(&key(&secret), &canaries));
        stream.answer(pushed, Some("a reason, so that it is logged"));
    }
    // A key that does not fit, a withdrawal, a renewal: each is seen before the next. What was refused is
    // not sent again, so both are renewed.
    let mismatched = Identity { key: renewed.key.clone(), ..first.clone() };
    agent.issue(&[&mismatched, other], &[]);
    server.wait_for_svid_updates("refused", 1).await;
    agent.withdraw();
    server.wait_for_svid_updates("withdrawn", 2).await;
    agent.issue(&[renewed_other, renewed], &[]);
    for expected in [renewed_other, renewed] {
        assert_eq!(key(&stream.accept().await.secret()), expected.key);
    }
    // TLS with the key, for those who may and those who may not.
    let address = server.tcp_address().await;
    let edge = Client::over_tls(address, Some(&authority.pair("/edge", HOUR))).await;
    edge.expect("let in").fetch(&[]).await.expect("everything");
    let stranger = Client::over_tls(address, None).await;
    if let Ok(stranger) = stranger {
        stranger.fetch(&[]).await.expect_err("a stranger");
    }
    client.fetch(&["nonsense"]).await.expect_err("unknown");
    server.reconfigure(LISTEN, "names: { default_svid: other }");
    server.wait_for_readiness(200, "restart").await;

    let pages = ["/", "/status", "/readyz", "/livez", "/metrics", "/logging"];
    for page in pages {
        let (_, body) = server.get(page);
        assert!(!shows(body.as_bytes(), &canaries), "{page}");
    }
    let log = std::fs::read(server.at("log")).expect("a log");
    assert!(log.windows(5).any(|found| found == b"TRACE"), "everything is logged");
    assert!(!shows(&log, &canaries), "the log");
    assert!(!log.windows(11).any(|found| found == b"PRIVATE KEY"), "the log has a PEM");
}

/// What the process would leave or show to others of its user: memory, environment, a core file.
#[tokio::test]
async fn nobody_of_the_same_user_reads_the_memory() {
    for (dumpable, readable) in [(false, false), (true, true)] {
        let addition = format!("process: {{ dumpable: {dumpable} }}");
        let launch = Launch { user: Some(NOBODY), addition: &addition, ..Launch::default() };
        let mut server = Server::launch(launch).await;
        let process = format!("/proc/{}", server.pid());
        for file in ["mem", "environ", "maps"] {
            let path = format!("{process}/{file}");
            let opened = as_user(NOBODY, || File::open(&path).map(drop));
            // The control: what forbids it is what the server does about dumps.
            assert_eq!(opened.is_ok(), readable, "{file}, dumpable: {dumpable}: {opened:?}");
        }
        let limits = std::fs::read_to_string(format!("{process}/limits")).expect("readable");
        let core = limits.lines().find(|line| line.starts_with("Max core file size"));
        let zero = core.expect("listed").split_whitespace().filter(|word| *word == "0").count();
        assert_eq!(zero == 2, !dumpable, "{core:?}");
        if !dumpable {
            server.crash();
            let status = server.wait_for_exit().await;
            assert!(status.signal().is_some() && !status.core_dumped(), "{status:?}");
            eventually("its directory has no core file", async || {
                let names = std::fs::read_dir(server.directory.path()).ok()?;
                let mut names = names.filter_map(Result::ok).map(|entry| entry.file_name());
                (!names.any(|name| name.to_string_lossy().starts_with("core"))).then_some(())
            })
            .await;
        }
    }
}
