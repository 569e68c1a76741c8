//! A decision allocates nothing.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use signet_policy::{
    Claim, Header, HttpRequest, KnownPeer, Parameter, Peer, Policy, Slice, StartupRequest,
};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: all is the system's; counting touches a thread local that needs no allocation.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises are those of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) };
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// How often `act` allocates.
fn allocations(act: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    act();
    ALLOCATIONS.get() - before
}

const SLICE: &str = r#"{"format": 1, "workload": "spiffe://a/w",
    "http": [
        {"name": "one", "from": ["spiffe://a/x", "spiffe://a/*/y"], "paths": ["/a/*", "/é b/**"], "methods": ["GET"],
         "hosts": ["h", "*.x.org"], "db_role": "r"},
        {"name": "two", "from": ["**"], "headers": {"x-h": {"equals": ["v"]}}, "ports": [80]},
        {"name": "no", "from": ["**"], "effect": "deny", "paths": ["/no/**"], "headers": {"x-h": {"equals": ["z"]}}},
        {"name": "staff", "from": ["**"], "paths": ["/staff/**"],
         "jwt": {"groups": {"equals": ["staff", "admins"]}, "sub": "present"}},
        {"name": "robots", "effect": "deny", "from": ["**"], "jwt": {"groups": {"equals": ["robots"]}}},
        {"name": "wide", "from": ["**"], "methods": ["DELETE"]},
        {"name": "shadow", "from": ["**"], "mode": "shadow", "upgrades": ["websocket"]}],
    "postgres": [
        {"name": "p", "from": ["spiffe://a/**"], "databases": ["d", "*"], "login_role": "r", "may_act_as": ["s"]}]}"#;

#[test]
fn decisions_allocate_nothing() {
    let policy = Policy::compile(Slice::from_json(SLICE.as_bytes()).unwrap());
    let state = "99|spiffe://a/x";
    let claims: [Claim<'_>; 3] = [("groups", b"admins"), ("groups", b"staff"), ("sub", b"x")];
    let robot: [Claim<'_>; 1] = [("groups", b"robots")];
    let mut verdicts = Vec::with_capacity(128);
    let mut by_claims = false;
    for path in
        ["/a/b", "/%C3%A9%20b/c/d?x=1", "/no/a", "/a//b", "/%zz", "/other", "/%ff", "/staff/a"]
    {
        for more in [(&b"x-h"[..], &b"v"[..]), (b"x-h", b"v,z"), (b"upgrade", b"websocket")] {
            let headers: [Header<'_>; 4] = [
                (b":method", b"GET"),
                (b":path", path.as_bytes()),
                (b":authority", b"a.X.org:80"),
                more,
            ];
            for claims in [&[][..], &claims, &robot] {
                let request = HttpRequest { headers: &headers, port: Some(80), claims };
                let known = KnownPeer::new(state.as_bytes(), &policy);
                let count = allocations(|| {
                    policy.decide_http(known.caller(50, policy.expiry_grace()), &request);
                    let peer = Peer::from_filter_state(state.as_bytes())
                        .and_then(|peer| peer.check_expiry(50, policy.expiry_grace()));
                    let decision = policy.decide_http(peer, &request);
                    by_claims |= decision.rule().is_some_and(|rule| rule == "staff");
                    verdicts.push(decision.verdict());
                    policy.shadow_http(peer, &request);
                });
                assert_eq!(count, 0, "{path} {more:?} {claims:?}");
            }
        }
    }
    assert!(by_claims, "no decision looked at all claims");
    verdicts.sort_unstable();
    verdicts.dedup();
    assert_eq!(verdicts, ["allow", "deny", "refuse"]);

    for user in ["r", "s", "other"] {
        let parameters: [Parameter<'_>; 2] = [(b"user", user.as_bytes()), (b"database", b"d")];
        let request = StartupRequest { parameters: &parameters, options: &[] };
        let peer = Peer::from_filter_state(state.as_bytes()).map(|peer| peer.id);
        let count = allocations(|| {
            assert!(policy.decide_postgres(peer, &request).rule().is_some());
        });
        assert_eq!(count, 0, "{user}");
    }
}
