//! Work as another user. The tests run as root, as CI does.

use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// A user and a group that own nothing.
pub(crate) const NOBODY: (u32, u32) = (65534, 65534);

/// Does `work` on a thread of that user and group, without any privilege.
pub(crate) fn as_user<T: Send>((uid, gid): (u32, u32), work: impl FnOnce() -> T + Send) -> T {
    let work = move || {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        set_thread_groups(&[]).expect("the tests run as root");
        set_thread_res_gid(gid, gid, gid).expect("the tests run as root");
        set_thread_res_uid(uid, uid, uid).expect("the tests run as root");
        work()
    };
    std::thread::scope(|scope| scope.spawn(work).join()).expect("the work does not panic")
}
