//! What the process forbids itself because it holds private keys, and what it allows itself.

use rustix::io;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

/// Forbids others of the same user to read this process's memory (`PR_SET_DUMPABLE`), and core
/// files.
pub(crate) fn forbid_dumps() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

/// Takes as many open files as the system grants: a shell's 1,024 are fewer than
/// `limits.connections` may need.
pub(crate) fn raise_open_files() -> io::Result<()> {
    let granted = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: granted, maximum: granted })
}
