//! Random policies and questions over few words, so that they meet often.

use serde_json::{Value, json};
use signet_policy::Slice;

/// `SplitMix64`: the same seed gives the same cases everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    /// True once in `n` times.
    fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// One to three different ones.
    fn some<T: PartialEq>(&mut self, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let mut list = Vec::new();
        for _ in 0..=self.below(3) {
            let new = one(self);
            if !list.contains(&new) {
                list.push(new);
            }
        }
        list
    }
}

/// What is asked over HTTP.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) from: String,
    /// Pseudo-headers first: method, path, and the authority where there is one.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) port: Option<u16>,
    pub(crate) claims: Vec<(&'static str, String)>,
}

pub(crate) const DATABASES: [&str; 4] = ["d0", "d1", "d2", "other"];
const SEGMENTS: [&str; 4] = ["a", "b", "é", "c d"];
const HOSTS: [&str; 7] =
    ["x.org", "a.x.org", "b.a.x.org", "*.x.org", "*.a.x.org", "*.org", "[::1]"];

pub(crate) fn id(random: &mut Random) -> String {
    let mut id = format!("spiffe://{}.org", random.pick(&["a", "b"]));
    for _ in 0..=random.below(3) {
        id.extend(["/", random.pick(&["a", "b", "c"])]);
    }
    id
}

fn id_pattern(random: &mut Random) -> String {
    if random.once_in(6) {
        return "**".to_owned();
    }
    let mut pattern = format!("spiffe://{}.org", random.pick(&["a", "b"]));
    for _ in 0..=random.below(3) {
        pattern.extend(["/", random.pick(&["a", "b", "c", "*"])]);
    }
    if random.once_in(3) {
        pattern += "/**";
    }
    pattern
}

fn path_pattern(random: &mut Random) -> String {
    if random.once_in(20) {
        return "*".to_owned();
    }
    let mut pattern = String::new();
    for _ in 0..random.below(4) {
        let segment = if random.once_in(4) { "*" } else { random.pick(&SEGMENTS) };
        pattern.extend(["/", segment]);
    }
    if pattern.is_empty() || random.once_in(4) {
        pattern += random.pick(&["/", "/**"]);
    }
    pattern
}

/// Few requests match all of many conditions, so each is rare.
fn http_rule(random: &mut Random, name: usize) -> Value {
    let mut rule = json!({ "name": format!("r{name}"), "from": random.some(id_pattern) });
    let mut set =
        |random: &mut Random, key: &str, rarity: usize, value: fn(&mut Random) -> Value| {
            if random.once_in(rarity) {
                rule[key] = value(random);
            }
        };
    set(random, "effect", 4, |_| json!("deny"));
    set(random, "mode", 5, |_| json!("shadow"));
    set(random, "db_role", 3, |random| json!(random.pick(&["reader", "writer"])));
    set(random, "paths", 2, |random| json!(random.some(path_pattern)));
    set(random, "methods", 3, |random| json!(random.some(|r| r.pick(&["GET", "PUT", "OPTIONS"]))));
    set(random, "hosts", 4, |random| json!(random.some(|r| r.pick(&HOSTS))));
    set(random, "ports", 8, |random| json!(random.some(|r| r.pick(&[80, 443]))));
    set(random, "upgrades", 8, |_| json!(["websocket"]));
    set(random, "headers", 6, |random| json!({ "x-h": condition(random) }));
    set(random, "jwt", 6, |random| json!({ "sub": condition(random) }));
    if rule["effect"] == "deny" {
        rule.as_object_mut().unwrap().remove("db_role");
    }
    if random.once_in(12) {
        make_wide(random, &mut rule);
    }
    rule
}

fn condition(random: &mut Random) -> Value {
    match random.below(3) {
        0 => json!("present"),
        1 => json!("absent"),
        _ => json!({ "equals": random.some(|r| r.pick(&["v", "w", "v,w"])) }),
    }
}

/// Gives a rule more callers and paths than the index multiplies.
fn make_wide(random: &mut Random, rule: &mut Value) {
    let many = |random: &mut Random, one: fn(&mut Random) -> String, filler: &str| {
        let mut list = random.some(one);
        list.extend((0..60).map(|i| format!("{filler}{i}")));
        json!(list)
    };
    rule["from"] = many(random, id_pattern, "spiffe://a.org/filler");
    rule["paths"] = many(random, path_pattern, "/filler");
}

fn slice(key: &str, rules: &[Value]) -> Slice {
    let slice = json!({ "format": 1, "workload": "spiffe://a.org/w", key: rules }).to_string();
    Slice::from_json(slice.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{slice}"))
}

pub(crate) fn http_slice(random: &mut Random) -> Slice {
    let count = 1 + random.below(12);
    let rules: Vec<Value> = (0..count).map(|name| http_rule(random, name)).collect();
    slice("http", &rules)
}

pub(crate) fn postgres_slice(random: &mut Random) -> Slice {
    let rule = |random: &mut Random, name: usize| {
        let mut from = random.some(id_pattern);
        let mut databases = random.some(|r| r.pick(&["d0", "d1", "d2", "*"]).to_owned());
        if random.once_in(6) {
            from.extend((0..60).map(|i| format!("spiffe://a.org/filler{i}")));
            databases.extend((0..60).map(|i| format!("filler{i}")));
        }
        json!({ "name": format!("r{name}"), "from": from, "databases": databases, "login_role": "any" })
    };
    let count = 1 + random.below(8);
    let rules: Vec<Value> = (0..count).map(|name| rule(random, name)).collect();
    slice("postgres", &rules)
}

pub(crate) fn ask(random: &mut Random) -> Ask {
    let from = id(random);
    let method = random.pick(&["GET", "GET", "PUT", "OPTIONS"]);
    let mut path = String::new();
    for _ in 0..random.below(4) {
        path.extend(["/", random.pick(&["a", "b", "%C3%A9", "c%20d"])]);
    }
    if path.is_empty() || random.once_in(4) {
        path.push('/');
    }
    if method == "OPTIONS" && random.once_in(2) {
        path.replace_range(.., "*");
    } else if random.once_in(4) {
        path += "?q=1";
    }
    let mut headers = vec![(":method", method.to_owned()), (":path", path)];
    if !random.once_in(5) {
        let host = random.pick(&["x.org", "a.x.org", "B.a.X.org:80", "c.org.", "org", "[::1]"]);
        headers.push((":authority", host.to_owned()));
    }
    for _ in 0..random.below(3) {
        headers.push(("x-h", random.pick(&["v", "w", "v,w", "w, v", "z"]).to_owned()));
    }
    if random.once_in(6) {
        headers.push(("upgrade", random.pick(&["websocket", "h2c", "WebSocket, h2c"]).to_owned()));
    }
    let claims = random.below(3);
    let claims = (0..claims).map(|_| ("sub", random.pick(&["v", "w", "z"]).to_owned())).collect();
    Ask { from, headers, port: random.pick(&[None, Some(80), Some(443)]), claims }
}
