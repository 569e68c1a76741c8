use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use super::{Handle, Pin, PinFault, start_of, started, ticks_since_boot};

/// A process that connects to `socket` and stays until its standard input ends.
fn connected(socket: &Path) -> Child {
    let program =
        "socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, sockaddr_un($ARGV[0])) or die $!; <STDIN>";
    let mut perl = Command::new("perl");
    perl.args(["-MSocket", "-e", program]).arg(socket).stdin(Stdio::piped());
    perl.spawn().expect("perl, which every Debian has")
}

async fn accepted(listener: &UnixListener) -> UnixStream {
    listener.accept().await.expect("a connection").0
}

#[tokio::test]
async fn a_process_is_pinned_until_its_end() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("s");
    let listener = UnixListener::bind(&socket).expect("bound");
    let mut child = connected(&socket);
    let stream = accepted(&listener).await;
    let pin = Pin::take(&stream).expect("pinned");
    assert_eq!(pin.pid().unsigned_abs(), child.id());
    assert!(pin.is_alive());
    assert!(timeout(Duration::from_millis(50), pin.ended()).await.is_err(), "it has not ended");

    drop(child.stdin.take());
    timeout(Duration::from_secs(20), pin.ended()).await.expect("it ended");
    assert!(!pin.is_alive(), "a process that nobody waited for has ended too");
    child.wait().expect("waited");
    assert!(matches!(Pin::take(&stream), Err(PinFault::Gone { .. })));
}

#[tokio::test]
async fn without_a_handle_the_start_time_pins() {
    let mut child = Command::new("sleep").arg("600").spawn().expect("sleep");
    let pid = i32::try_from(child.id()).expect("a number");
    let handle = Handle::Started(started(pid).expect("its start"));
    let pin = Pin { pid, uid: 0, gid: 0, handle };
    assert!(pin.is_alive());
    let other = Pin { handle: Handle::Started(1), ..pin };
    assert!(!other.is_alive(), "another process that started at another time");
    child.kill().expect("killed");
    child.wait().expect("waited");
    timeout(Duration::from_secs(20), other.ended()).await.expect("it ended");
}

/// Starts processes until one has the number `pid`; the kernel is told which one it gave last.
fn start_as(pid: u32) -> Option<Child> {
    for _ in 0..20 {
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).expect("root");
        let mut child = Command::new("sleep").arg("600").spawn().expect("sleep");
        if child.id() == pid {
            return Some(child);
        }
        child.kill().expect("killed");
        child.wait().expect("waited");
    }
    None
}

/// Of 100 processes that get the number of one that connected, none gets in: neither by the
/// kernel's handle of the peer, nor by number on kernels without.
#[tokio::test]
async fn a_number_given_again_pins_nobody() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("s");
    let listener = UnixListener::bind(&socket).expect("bound");
    let mut reused = 0;
    while reused < 100 {
        let mut child = connected(&socket);
        let stream = accepted(&listener).await;
        let at = ticks_since_boot();
        child.kill().expect("killed");
        child.wait().expect("waited");
        let Some(mut impostor) = start_as(child.id()) else { continue };
        reused += 1;
        let pid = i32::try_from(impostor.id()).expect("a number");
        let pinned = Pin::take(&stream);
        let by_number = Handle::by_number(pid, at);
        impostor.kill().expect("killed");
        impostor.wait().expect("waited");
        assert!(matches!(pinned, Err(PinFault::Gone { .. })), "{pinned:?}");
        assert!(matches!(by_number, Err(PinFault::Reused { .. })), "{by_number:?}");
    }
}

#[test]
fn the_start_time_is_found_behind_any_name() {
    let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20";
    for name in ["sleep", "a b", ") S 1", "x) y"] {
        assert_eq!(start_of(&format!("7 ({name}) {rest}")), Some(4242), "{name}");
    }
    assert_eq!(start_of("7 (short) S 1"), None);
    let own = i32::try_from(std::process::id()).expect("a number");
    assert!(started(own).expect("ours") <= ticks_since_boot());
}
