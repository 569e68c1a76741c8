//! The index decides as a reader of POLICY would who goes through the rules one by one.

mod random;
mod reference;

use random::Random;
use signet_policy::{
    Claim, Header, HttpRequest, KnownPeer, NoIdentity, Parameter, Policy, Slice, SpiffeId,
    StartupRequest,
};

const POLICIES: u64 = 500;
const REQUESTS: u64 = 60;

#[test]
fn http_decisions_are_those_of_the_reference() {
    let mut allowed = 0;
    let mut denied_by_rule = 0;
    for seed in 0..POLICIES {
        let mut random = Random::new(seed);
        let slice = random::http_slice(&mut random);
        let json = slice.clone().to_json();
        let policy = Policy::compile(Slice::http_from_json(json.as_bytes()).unwrap());
        for _ in 0..REQUESTS {
            let ask = random::ask(&mut random);
            let headers: Vec<Header<'_>> = ask
                .headers
                .iter()
                .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
                .collect();
            let claims: Vec<Claim<'_>> =
                ask.claims.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
            let request = HttpRequest { headers: &headers, port: ask.port, claims: &claims };
            let peer = SpiffeId::parse(&ask.from).map_err(|_| NoIdentity::InvalidSpiffeId);
            let decided = policy.decide_http(peer, &request);
            let expected = reference::http(&slice, &ask, false);
            assert_eq!(reference::told(&decided), expected, "seed {seed}: {ask:?}\n{json}");
            let known = KnownPeer::new(format!("1|{}", ask.from).as_bytes(), &policy);
            let known = known.caller(0, 0);
            assert_eq!(policy.decide_http(known, &request), decided, "known, seed {seed}: {ask:?}");
            let shadow = policy.shadow_http(peer, &request);
            assert_eq!(policy.shadow_http(known, &request), shadow, "known, seed {seed}: {ask:?}");
            let with_shadow = reference::told(&shadow.unwrap_or(decided));
            let expected = reference::http(&slice, &ask, true);
            assert_eq!(with_shadow, expected, "shadow, seed {seed}: {ask:?}\n{json}");
            allowed += u32::from(decided.verdict() == "allow");
            denied_by_rule += u32::from(decided.reason() == "denied_by_rule");
        }
    }
    // The cases say something of each outcome.
    assert!(allowed > 3_000 && denied_by_rule > 3_000, "{allowed} {denied_by_rule}");
}

#[test]
fn postgres_decisions_are_those_of_the_reference() {
    let mut found = 0;
    for seed in 0..POLICIES {
        let mut random = Random::new(seed);
        let slice = random::postgres_slice(&mut random);
        let json = slice.clone().to_json();
        let policy = Policy::compile(Slice::postgres_from_json(json.as_bytes()).unwrap());
        for _ in 0..REQUESTS {
            let (from, database) = (random::id(&mut random), random.pick(&random::DATABASES));
            let parameters: [Parameter<'_>; 2] =
                [(b"user", b"any"), (b"database", database.as_bytes())];
            let request = StartupRequest { parameters: &parameters, options: &[] };
            let decided = policy.decide_postgres(Ok(SpiffeId::parse(&from).unwrap()), &request);
            let expected = reference::postgres(&slice, &from, database);
            let told = decided.rule().unwrap_or(decided.reason());
            assert_eq!(told, expected, "seed {seed}: {from} {database}\n{json}");
            found += u32::from(decided.rule().is_some());
        }
    }
    assert!(found > 3_000, "{found}");
}
