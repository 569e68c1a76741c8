//! Where Envoys connect, and who may.

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use signet_policy::IdPattern;

use super::{FileMode, NamePattern, defaults};

/// The sockets of SDS and ECDS: a Unix socket, a TCP socket, or both.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Absolute path of the Unix socket. A stale socket there is replaced, anything else is not. A
    /// directory that does not exist yet is made, 0750. Left out: no Unix socket.
    pub path: Option<PathBuf>,
    /// Permissions of the Unix socket, octal. Default `"0660"`.
    #[serde(default = "defaults::socket_mode")]
    pub mode: FileMode,
    /// User IDs that may connect to the Unix socket (`SO_PEERCRED`). Left out: whomever the
    /// permissions let in. Live: a user who is taken off the list is disconnected.
    pub allowed_uids: Option<Vec<u32>>,
    /// The same with the effective group. With both lists a process must be on both.
    pub allowed_gids: Option<Vec<u32>>,
    /// The TCP socket. Left out: none.
    pub tcp: Option<TcpListen>,
}

/// A TCP socket with mutual TLS: the server shows its default SVID, and every peer must show one.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TcpListen {
    /// `10.0.0.1:8443`. Port 0 takes a free one, which is logged.
    pub address: SocketAddr,
    /// Who may connect, and what each may have. Nobody else gets in; an empty list lets nobody in.
    /// Live: a name that is taken off the list is not pushed any more, and a peer that is taken off
    /// is disconnected.
    #[serde(default)]
    pub allow: Vec<AllowedPeers>,
}

/// Peers and the names that they may have. A peer that several entries match may have the names of
/// all of them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AllowedPeers {
    /// A SPIFFE ID, in which a segment `*` is any one segment and a last segment `**` is the rest.
    /// Its trust domain, ours or a federated one, says whose authorities may have signed it.
    pub peer: PeerPattern,
    /// Names as the peer writes them: `default`, `ROOTCA`, `signet.http`. A last `*` is any
    /// end, a first `*` any beginning.
    pub names: Vec<NamePattern>,
}

/// SPIFFE IDs of one trust domain.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct PeerPattern(IdPattern);

impl PeerPattern {
    /// Whether the pattern holds `id`.
    pub fn matches(&self, id: &spiffe::SpiffeId) -> bool {
        signet_policy::SpiffeId::parse(&id.to_string()).is_ok_and(|id| self.0.matches(id))
    }
}

impl TryFrom<String> for PeerPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match IdPattern::parse(&text) {
            Ok(_) if text == "**" => {
                Err("peer `**`: name the trust domain, as in spiffe://example.org/**".into())
            }
            Ok(pattern) => Ok(Self(pattern)),
            Err(fault) => Err(format!("peer `{text}`: {fault}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PeerPattern;

    #[test]
    fn a_peer_is_of_one_trust_domain() {
        let id = spiffe::SpiffeId::new("spiffe://example.org/ns/a/sa/envoy").expect("an ID");
        for (pattern, expected) in [
            ("spiffe://example.org/ns/a/sa/envoy", true),
            ("spiffe://example.org/ns/*/sa/envoy", true),
            ("spiffe://example.org/**", true),
            ("spiffe://example.org/ns/a", false),
            ("spiffe://other.example/**", false),
        ] {
            let pattern = PeerPattern::try_from(pattern.to_owned()).expect(pattern);
            assert_eq!(pattern.matches(&id), expected, "{pattern:?}");
        }
        for refused in ["**", "*", "spiffe://*/a", "spiffe://example.org", "spiffe://a/b*"] {
            assert!(PeerPattern::try_from(refused.to_owned()).is_err(), "{refused}");
        }
    }
}
