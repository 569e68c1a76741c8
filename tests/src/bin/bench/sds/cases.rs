//! Who serves how many streams.

use crate::figures::thousands;

/// A server that speaks SDS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    /// SPIRE agent's own SDS.
    Spire,
    /// sds-server on that agent.
    Ours,
    /// The yardstick: the least that tonic makes, with Envoy's whole messages.
    Minimal,
    /// The same, reading only the fields that it needs.
    Slim,
}

impl Server {
    /// In the order in which a round takes them.
    pub(super) const ALL: [Self; 4] = [Self::Spire, Self::Ours, Self::Minimal, Self::Slim];

    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Spire => "spire",
            Self::Ours => "ours",
            Self::Minimal => "minimal",
            Self::Slim => "slim",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Spire => "SPIRE agent",
            Self::Ours => "sds-server",
            Self::Minimal => "minimal tonic server",
            Self::Slim => "minimal, slim requests",
        }
    }
}

/// What says hello in every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// An id and a cluster.
    Bare,
    /// What the real Envoy sends.
    Envoy,
}

impl Node {
    pub(super) const ALL: [Self; 2] = [Self::Bare, Self::Envoy];

    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Envoy => "node",
        }
    }
}

/// One server under one load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) server: Server,
    pub(super) node: Node,
    pub(super) streams: usize,
    /// The streams are spread evenly over these.
    pub(super) connections: usize,
}

/// Streams, each on a connection of its own.
const STREAMS: [usize; 3] = [10, 100, 1_000];
/// Streams and connections of one large node.
const LARGE: (usize, usize) = (10_000, 100);

impl Case {
    /// In the order in which a round takes them: all servers in turn under each load.
    pub(super) fn all() -> Vec<Self> {
        let mut cases = Vec::new();
        for streams in STREAMS {
            for node in Node::ALL {
                let case = |server| Self { server, node, streams, connections: streams };
                cases.extend(Server::ALL.map(case));
            }
        }
        cases.extend(Node::ALL.map(|node| Self::large(Server::Ours, node)));
        cases
    }

    /// As small as can be, each server once with Envoy's node, and one connection that is shared.
    pub(super) fn smoke() -> Vec<Self> {
        let case = |server| Self { server, node: Node::Envoy, streams: 3, connections: 3 };
        let mut cases = Server::ALL.map(case).to_vec();
        cases.push(Self { server: Server::Ours, node: Node::Bare, streams: 20, connections: 2 });
        cases
    }

    /// Many streams on each connection.
    pub(super) fn large(server: Server, node: Node) -> Self {
        let (streams, connections) = LARGE;
        Self { server, node, streams, connections }
    }

    /// For files and JSON.
    pub(super) fn key(self) -> String {
        format!("{}-{}-{}", self.server.key(), self.node.key(), self.streams)
    }

    /// For people.
    pub(super) fn title(self) -> String {
        format!("{}, {}", self.server.title(), self.load())
    }

    /// The load alone, for people.
    pub(super) fn load(self) -> String {
        let node = match self.node {
            Node::Bare => "bare",
            Node::Envoy => "Envoy's node",
        };
        let streams = thousands(self.streams);
        if self.streams == self.connections {
            return format!("{streams} streams, {node}");
        }
        format!("{streams} streams on {} connections, {node}", thousands(self.connections))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_a_key_of_its_own() {
        for cases in [Case::all(), Case::smoke()] {
            let mut keys: Vec<String> = cases.iter().map(|case| case.key()).collect();
            keys.sort();
            keys.dedup();
            assert_eq!(keys.len(), cases.len());
        }
    }
}
