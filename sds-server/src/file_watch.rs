//! Notices that files have changed, however they were changed: written in place, replaced by an
//! editor's rename, or switched by Kubernetes, which swaps the symbolic link `..data` of a mounted
//! `ConfigMap`.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use signet_policy_document::files_of;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tracing::warn;

/// A file must have been quiet for this time before it counts as changed: writers take more than
/// one step.
const QUIET: Duration = Duration::from_millis(25);
/// Files are looked at this often although nothing was notified: network file systems notify
/// nothing.
const LOOK: Duration = Duration::from_secs(2);
/// The same where the system cannot notify at all.
const LOOK_WITHOUT_NOTIFICATION: Duration = Duration::from_millis(250);
/// Links that are followed from a path to its file.
const LINKS: usize = 16;

/// A watch of some files, or of directories of policy files. Directories are watched, not files: a
/// replaced file is another file.
#[derive(Debug)]
pub(crate) struct FileWatch {
    paths: Vec<PathBuf>,
    seen: Vec<Stamp>,
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    notified: mpsc::Receiver<()>,
}

/// What tells one state of a file from another, without reading it. `None`: it is not there.
type Stamp = Option<(u64, u64, u64, (i64, i64), (i64, i64))>;

impl FileWatch {
    /// Watches `paths` from their state of now.
    pub(crate) fn new(paths: Vec<PathBuf>) -> Self {
        let (notify, notified) = mpsc::channel(1);
        // A full channel means that a notification is pending already.
        let watcher = notify::recommended_watcher(move |_| {
            let _ = notify.try_send(());
        });
        if let Err(error) = &watcher {
            warn!(%error, "the system notifies of no file changes; looking often instead");
        }
        let watcher = watcher.ok();
        let mut watch =
            Self { seen: Vec::new(), paths, watcher, watched: BTreeSet::new(), notified };
        watch.follow_links();
        watch.seen = watch.stamps();
        watch
    }

    /// Returns when a file has changed since the last time, and is quiet again.
    pub(crate) async fn changed(&mut self) {
        let look = if self.watcher.is_some() { LOOK } else { LOOK_WITHOUT_NOTIFICATION };
        loop {
            // The end of the wait and the end of the notifications mean the same: look.
            if timeout(look, self.notified.recv()).await == Ok(None) {
                sleep(look).await;
            }
            self.follow_links();
            let mut stamps = self.stamps();
            if stamps == self.seen {
                continue;
            }
            loop {
                sleep(QUIET).await;
                let later = self.stamps();
                if std::mem::replace(&mut stamps, later) == stamps {
                    break;
                }
            }
            self.follow_links();
            self.seen = stamps;
            return;
        }
    }

    fn stamps(&self) -> Vec<Stamp> {
        self.files().iter().map(|path| stamp(path)).collect()
    }

    /// The paths, and the files of those that are directories.
    fn files(&self) -> Vec<PathBuf> {
        let inside = self.paths.iter().filter(|path| path.is_dir());
        let inside = inside.flat_map(|path| files_of(path).unwrap_or_default());
        self.paths.iter().cloned().chain(inside).collect()
    }

    /// Watches every directory in which a change can lead to another file.
    fn follow_links(&mut self) {
        let folders = self.paths.iter().filter(|path| path.is_dir()).cloned();
        let wanted: BTreeSet<PathBuf> =
            self.files().iter().flat_map(|path| directories(path)).chain(folders).collect();
        let Some(watcher) = &mut self.watcher else { return };
        for gone in self.watched.difference(&wanted) {
            let _ = watcher.unwatch(gone);
        }
        // Watching again costs nothing, and finds directories that were made anew.
        self.watched = wanted
            .into_iter()
            .filter(|directory| watcher.watch(directory, RecursiveMode::NonRecursive).is_ok())
            .collect();
    }
}

/// The directories that hold the path, the links that it goes through, and the file in the end.
fn directories(path: &Path) -> Vec<PathBuf> {
    let mut directories = Vec::new();
    let mut path = path.to_path_buf();
    for _ in 0..LINKS {
        let Some(parent) = path.parent() else { break };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        directories.push(parent.to_path_buf());
        let Ok(target) = std::fs::read_link(&path) else { break };
        path = parent.join(target);
    }
    directories
}

fn stamp(path: &Path) -> Stamp {
    let found = std::fs::metadata(path).ok()?;
    Some((
        found.dev(),
        found.ino(),
        found.size(),
        (found.mtime(), found.mtime_nsec()),
        (found.ctime(), found.ctime_nsec()),
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::FileWatch;

    async fn sees(watch: &mut FileWatch) -> bool {
        timeout(Duration::from_millis(1500), watch.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn a_file_written_in_place_or_replaced_by_rename_has_changed() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("policy.yaml");
        let mut watch = FileWatch::new(vec![path.clone()]);
        fs::write(&path, "one").expect("written");
        assert!(sees(&mut watch).await, "made");
        fs::write(&path, "two").expect("written");
        assert!(sees(&mut watch).await, "written in place");
        let new = directory.path().join(".policy.yaml.swp");
        fs::write(&new, "three").expect("written");
        fs::rename(&new, &path).expect("renamed");
        assert!(sees(&mut watch).await, "replaced");
        fs::remove_file(&path).expect("removed");
        assert!(sees(&mut watch).await, "removed");
    }

    #[tokio::test]
    async fn a_directory_has_changed_with_each_of_its_files() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        let mut watch = FileWatch::new(vec![directory.path().to_path_buf()]);
        fs::write(at("a.yaml"), "one").expect("written");
        assert!(sees(&mut watch).await, "made");
        fs::write(at("a.yaml"), "two").expect("written");
        assert!(sees(&mut watch).await, "written in place");
        fs::rename(at("a.yaml"), at("b.yaml")).expect("renamed");
        assert!(sees(&mut watch).await, "renamed");
    }

    #[tokio::test]
    async fn a_config_map_switches_by_its_data_link_more_than_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        let switch_to = |generation: &str| {
            fs::create_dir(at(generation)).expect("made");
            fs::write(at(generation).join("policy.yaml"), generation).expect("written");
            symlink(generation, at("..data_tmp")).expect("linked");
            fs::rename(at("..data_tmp"), at("..data")).expect("switched");
        };
        switch_to("..1");
        symlink(Path::new("..data/policy.yaml"), at("policy.yaml")).expect("linked");
        let mut watch = FileWatch::new(vec![at("policy.yaml")]);
        for generation in ["..2", "..3"] {
            switch_to(generation);
            assert!(sees(&mut watch).await, "{generation}");
            assert_eq!(fs::read_to_string(at("policy.yaml")).expect("readable"), generation);
        }
    }

    #[tokio::test]
    async fn the_target_of_a_link_elsewhere_is_watched_too() {
        let (here, there) =
            (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let target = there.path().join("mesh.yaml");
        fs::write(&target, "one").expect("written");
        symlink(&target, here.path().join("policy.yaml")).expect("linked");
        let mut watch = FileWatch::new(vec![here.path().join("policy.yaml")]);
        fs::write(&target, "two").expect("written");
        assert!(sees(&mut watch).await);
    }
}
