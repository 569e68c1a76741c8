//! The index: which rules may match, at a cost that depends on the request and not on the number of rules, but for two
//! sorts of them.
//!
//! A rule is a set of alternatives: each caller of `from` with each path and each host. A [`Trie`] for each of the three
//! numbers the patterns, and [`Alternatives`] maps three numbers to the rules that have them all. A request matches few
//! patterns of each kind, and a trie yields them heaviest first; so the first rule found whose other conditions hold is
//! the heaviest.
//!
//! A rule whose lists multiply to more than [`MAX_GROWTH`] times their lengths is *wide*: it is filed under its callers
//! only, and then compared by weight. So the index stays a bounded multiple of the policy.
//!
//! Two sorts of rules are looked at one by one, and do cost by their number: those with the very same path, caller and
//! host, which differ in methods, headers, claims, ports or upgrades only, until one holds; and the wide rules of the
//! caller.

mod alternatives;
mod http;
mod postgres;
mod table;
mod trie;

use alternatives::Alternatives;
use table::Hash;
use trie::{Octets, Trie};

pub(crate) use http::{Heaviest, HttpRules};
pub(crate) use postgres::PostgresRules;

/// How many times as many alternatives as patterns a rule may have in the index.
const MAX_GROWTH: usize = 16;

/// In place of a pattern's number: the rule has no such condition.
const ANY: u32 = u32::MAX;

/// Whether lists of these lengths multiply to too much.
fn is_wide(lengths: [usize; 3]) -> bool {
    let alternatives = lengths.iter().fold(1_usize, |all, length| all.saturating_mul(*length));
    alternatives > lengths.iter().sum::<usize>().saturating_mul(MAX_GROWTH)
}

/// The number of a rule. A policy of more than `u32::MAX` rules doesn't fit into memory.
fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
