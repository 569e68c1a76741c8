//! The one task that reads the policy file and writes [`PolicyState`].

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use signet_policy_document::{Faults, PolicyDocument, files_of};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{CodeCheck, FilterKind, PolicyState};
use crate::config::Filters;
use crate::file_watch::FileWatch;
use crate::metrics::Metrics;

/// The longest file that is read, in bytes.
const DOCUMENT_BYTES: u64 = 8 << 20;

/// Keeps the last good policy, and says why a newer one is not in force.
#[derive(Debug)]
pub struct PolicyKeeper {
    file: PathBuf,
    filters: Filters,
    state: watch::Sender<PolicyState>,
    metrics: Metrics,
    /// What was found of each filter's code; told when it changes.
    code: BTreeMap<FilterKind, CodeCheck>,
}

/// Why a document is not in force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PolicyFault {
    #[error("policy {}: {source}", file.display())]
    Unreadable { file: PathBuf, source: io::Error },
    #[error("policy {}: it is longer than {DOCUMENT_BYTES} bytes", file.display())]
    TooLong { file: PathBuf },
    #[error("policy: {faults}, the first: {}", faults.lines().next().unwrap_or_default())]
    Faulty { faults: Box<Faults> },
}

impl PolicyFault {
    /// The fault for people: of a faulty document, all that is wrong with it.
    pub(crate) fn report(&self) -> String {
        match self {
            Self::Faulty { faults } => faults.lines().collect::<Vec<_>>().join("\n"),
            other => other.to_string(),
        }
    }
}

impl PolicyKeeper {
    /// A keeper of the document in `file`, and the state that it will publish.
    pub fn new(
        file: PathBuf,
        filters: Filters,
        metrics: Metrics,
    ) -> (Self, watch::Receiver<PolicyState>) {
        let (state, published) = watch::channel(PolicyState {
            configured: true,
            file: file.clone(),
            filters: filters.clone(),
            ..PolicyState::default()
        });
        (Self { file, filters, state, metrics, code: BTreeMap::new() }, published)
    }

    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.keep_reading()).await;
    }

    async fn keep_reading(mut self) {
        let code = self.filters.by_kind().map(|(_, filter)| filter.wasm.clone());
        let mut watch = FileWatch::new(code.chain([self.file.clone()]).collect());
        loop {
            self.read().await;
            watch.changed().await;
        }
    }

    async fn read(&mut self) {
        let (file, filters) = (self.file.clone(), self.filters.clone());
        let work = move || {
            let code = filters.by_kind().map(|(kind, filter)| (kind, CodeCheck::of(filter)));
            (read_document(&file), code.collect())
        };
        let (document, code) = match tokio::task::spawn_blocking(work).await {
            Ok(found) => found,
            Err(error) => return error!(%error, "reading the policy failed; nothing changes"),
        };
        self.tell_of_code(code);
        self.state.send_modify(|state| {
            state.code_faults = self.code_faults();
            match document {
                Ok(document) => self.accept(state, document),
                Err(fault) => self.reject(state, &fault),
            }
        });
    }

    fn tell_of_code(&mut self, code: BTreeMap<FilterKind, CodeCheck>) {
        if code == self.code {
            return;
        }
        for check in code.values() {
            match check {
                CodeCheck::Matches => {}
                CodeCheck::Unseen(remark) => warn!("{remark}"),
                CodeCheck::Differs(fault) => {
                    error!("{fault}; this filter is not configured until it is right");
                }
            }
        }
        self.code = code;
    }

    fn code_faults(&self) -> BTreeMap<FilterKind, String> {
        let faults = self.code.iter().filter_map(|(kind, check)| match check {
            CodeCheck::Differs(fault) => Some((*kind, fault.clone())),
            CodeCheck::Matches | CodeCheck::Unseen(_) => None,
        });
        faults.collect()
    }

    fn accept(&self, state: &mut PolicyState, document: PolicyDocument) {
        let digest: Arc<str> = document.digest().into();
        let again = state.digest.as_ref() == Some(&digest);
        if again && state.rejected.is_none() {
            return;
        }
        self.metrics.count_policy_load("accepted");
        self.metrics.show_policy(&digest);
        info!(%digest, rules = document.rule_count(), again, "policy in force");
        state.rejected = None;
        state.document = Some(Arc::new(document));
        state.digest = Some(digest);
        state.since = Some(SystemTime::now());
    }

    fn reject(&self, state: &mut PolicyState, fault: &PolicyFault) {
        self.metrics.count_policy_load("rejected");
        let last_good = state.document.is_some();
        if let PolicyFault::Faulty { faults } = fault {
            for fault in faults.lines() {
                error!(fault, "policy fault");
            }
        }
        error!(reason = %fault, last_good, "policy rejected; the last good one stays in force");
        state.rejected = Some(fault.to_string());
    }
}

/// Reads and checks a policy: a file, or a directory of them.
pub(crate) fn read_document(path: &Path) -> Result<PolicyDocument, PolicyFault> {
    let unreadable = |source| PolicyFault::Unreadable { file: path.into(), source };
    let mut texts = Vec::new();
    for file in files_of(path).map_err(unreadable)? {
        let text = read_file(&file)?;
        texts.push((file.display().to_string(), text));
    }
    PolicyDocument::parse_files(&path.display().to_string(), texts)
        .map_err(|faults| PolicyFault::Faulty { faults: Box::new(faults) })
}

fn read_file(file: &Path) -> Result<Vec<u8>, PolicyFault> {
    let unreadable = |source| PolicyFault::Unreadable { file: file.into(), source };
    let mut text = Vec::new();
    let opened = std::fs::File::open(file).map_err(unreadable)?;
    opened.take(DOCUMENT_BYTES + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() as u64 > DOCUMENT_BYTES {
        return Err(PolicyFault::TooLong { file: file.into() });
    }
    Ok(text)
}
