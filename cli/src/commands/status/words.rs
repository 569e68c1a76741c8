//! The status for people: one thing a line, what belongs to it indented.

use super::report::{Envoy, Report, Resource, Svid, Withdrawn};

/// Digits of a hash that tell it from others.
const SHORT: usize = 12;

/// Stands in a digest's place where the identity of the filter's workload is withdrawn.
const WITHDRAWN: &str = "withdrawn";

/// All of it. No text of a peer moves the cursor or begins a line.
pub(super) fn told(report: &Report, admin: &str) -> String {
    let mut page = Page(String::new());
    page.state(report, admin);
    page.identities(report);
    page.processes(report);
    page.policy(report);
    page.envoys(report);
    page.refused(report);
    page.0
}

struct Page(String);

impl Page {
    fn heading(&mut self, line: std::fmt::Arguments<'_>) {
        self.0.push('\n');
        self.line(line);
    }

    /// One line, without control characters.
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        let line = line.to_string();
        self.0.extend(
            line.chars().map(|c| if c == '\n' { ' ' } else { c }).filter(|c| !c.is_control()),
        );
        self.0.push('\n');
    }

    fn state(&mut self, report: &Report, admin: &str) {
        let state = if report.ready { "ready" } else { "NOT READY" };
        self.line(format_args!("sds-server {} at {admin}: {state}", report.version));
        for reason in &report.reasons {
            self.line(format_args!("  missing  {}: {}", reason.guard, reason.reason));
        }
        for warning in &report.warnings {
            self.line(format_args!("  warning  {}: {}", warning.guard, warning.reason));
        }
    }

    fn identities(&mut self, report: &Report) {
        let source = &report.source;
        let connected = if source.connected { "connected" } else { "NOT CONNECTED" };
        // The broker answers for each process; what is connected or not gives the server its own SVID.
        let api = if source.kind == "broker" { "Workload API " } else { "" };
        self.heading(format_args!("Source  {} {}: {api}{connected}", source.kind, source.address));
        self.heading(format_args!("SVIDs  {}", report.svids.len()));
        self.svids(&report.svids, "  ");
        self.withdrawn(&report.withdrawn, "  ");
        self.heading(format_args!("Bundles  {}", report.bundles.len()));
        let width = widest(report.bundles.iter().map(|bundle| bundle.trust_domain.as_str()));
        for bundle in &report.bundles {
            // As long as its last one; one that is being replaced may end before.
            let left = bundle.authorities.iter().map(|authority| authority.seconds_left).max();
            let (domain, left) = (&bundle.trust_domain, length(left.unwrap_or(0)));
            let authorities = bundle.authorities.len();
            self.line(format_args!("  {domain:width$}  {left:>14}  authorities {authorities}"));
        }
    }

    fn svids(&mut self, svids: &[Svid], indent: &str) {
        let width = widest(svids.iter().map(|svid| svid.spiffe_id.as_str()));
        for svid in svids {
            let left = length(svid.seconds_left);
            let default = if svid.default { "  default" } else { "" };
            let hint = svid.hint.as_ref().map(|hint| format!("  hint {hint}")).unwrap_or_default();
            let (id, serial) = (&svid.spiffe_id, &svid.serial);
            self.line(format_args!(
                "{indent}{id:width$}  {left:>14}  serial {serial}{default}{hint}"
            ));
        }
    }

    /// No message takes a certificate from an Envoy.
    fn withdrawn(&mut self, withdrawn: &[Withdrawn], indent: &str) {
        for svid in withdrawn {
            let (id, left, until) = (&svid.spiffe_id, length(svid.seconds_left), &svid.not_after);
            self.line(format_args!(
                "{indent}{id}  WITHDRAWN: Envoys hold it until {until}, {left}"
            ));
        }
    }

    /// Of a server of a node, which serves each process its own.
    fn processes(&mut self, report: &Report) {
        if report.source.kind != "workload_api" {
            self.heading(format_args!("Processes  {}", report.processes.len()));
        }
        for process in &report.processes {
            self.line(format_args!("  {}  (streams: {})", process.name, process.streams));
            self.svids(&process.svids, "    ");
            self.withdrawn(&process.withdrawn, "    ");
            if let Some(trouble) = &process.trouble {
                self.line(format_args!("    {trouble}"));
            }
        }
    }

    fn policy(&mut self, report: &Report) {
        match &report.policy {
            None => self.heading(format_args!("Policy  none is configured")),
            Some(policy) => {
                let digest = policy.digest.as_deref().map_or("NONE IN FORCE", short);
                let (rules, file) = (policy.rules, &policy.file);
                self.heading(format_args!("Policy  {digest}  rules {rules}  {file}"));
            }
        }
    }

    fn envoys(&mut self, report: &Report) {
        self.heading(format_args!("Envoys  {}", report.envoys.len()));
        let policy = report.policy.as_ref().and_then(|policy| policy.digest.as_deref());
        for envoy in &report.envoys {
            self.envoy(envoy, policy);
        }
    }

    fn envoy(&mut self, envoy: &Envoy, policy: Option<&str>) {
        let node = if envoy.node.is_empty() { "(no node ID)" } else { &envoy.node };
        let streams: Vec<_> = envoy
            .streams
            .iter()
            .map(|streams| format!("{} {} {}", streams.open, streams.transport, streams.protocol))
            .collect();
        self.line(format_args!("  {node}  ({}; streams: {})", envoy.peer, streams.join(", ")));
        for (filter, digest) in &envoy.policies {
            if digest == WITHDRAWN {
                self.line(format_args!("    {filter} DENIES EVERYTHING: identity withdrawn"));
                continue;
            }
            let older = if policy == Some(digest) { "in force" } else { "OLDER" };
            self.line(format_args!("    {filter} runs policy {}  {older}", short(digest)));
        }
        let width = widest(envoy.resources.iter().map(|resource| resource.name.as_str()));
        for resource in &envoy.resources {
            let name = &resource.name;
            self.line(format_args!("    {name:width$}  {}", standing(resource)));
        }
        for waiting in &envoy.waiting {
            let (name, reason, since) = (&waiting.name, &waiting.reason, &waiting.since);
            self.line(format_args!("    {name}  WAITS since {since}: {reason}"));
        }
        if envoy.unlisted > 0 {
            self.line(format_args!("    and {} more", envoy.unlisted));
        }
    }

    fn refused(&mut self, report: &Report) {
        self.heading(format_args!("Refused peers  {}", report.refused_peers.len()));
        for refused in &report.refused_peers {
            let (peer, count, last) = (&refused.peer, refused.count, &refused.last);
            self.line(format_args!("  {peer}  {count} times, last {last}: {}", refused.reason));
        }
    }
}

/// How it stands with a resource.
fn standing(resource: &Resource) -> String {
    if let Some(refusal) = &resource.refused {
        let (version, at) = (short(&refusal.version), &refusal.at);
        return format!("{version}  REFUSED {at}: {}", refusal.reason);
    }
    match (&resource.sent, &resource.acknowledged) {
        (Some(sent), Some(accepted)) if sent.version == accepted.version => {
            format!("{}  acknowledged {}", short(&sent.version), accepted.at)
        }
        (Some(sent), _) => format!("{}  not answered since {}", short(&sent.version), sent.at),
        (None, Some(held)) => format!("{}  came with it {}", short(&held.version), held.at),
        (None, None) => "not sent".to_owned(),
    }
}

fn widest<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(|text| text.chars().count()).max().unwrap_or(0)
}

fn short(hash: &str) -> &str {
    hash.get(..SHORT).unwrap_or(hash)
}

/// A length of time in its two largest units.
fn length(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes, seconds) {
        (0, 0, 0, 0) => "EXPIRED".to_owned(),
        (0, 0, 0, seconds) => format!("{seconds} s left"),
        (0, 0, minutes, seconds) => format!("{minutes} min {} s left", seconds % 60),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min left"),
        (days, hours, ..) => format!("{days} d {hours} h left"),
    }
}
