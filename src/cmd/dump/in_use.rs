//! Who has a store open.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{major, minor};

/// The process that holds the lock on a commit log's directory, as the kernel's list of locks tells. `None` also where
/// that cannot be seen, as across containers; trying the lock instead would keep a replica from starting just then.
pub fn by(commit_log: &Path) -> Option<u32> {
    let directory = fs::metadata(commit_log).ok()?;
    let (device, inode) = (directory.dev(), directory.ino());
    let file = format!("{:02x}:{:02x}:{inode}", major(device), minor(device));
    holder(&fs::read_to_string("/proc/locks").ok()?, &file)
}

/// A line is `1: FLOCK  ADVISORY  WRITE 4711 fe:00:131086 0 EOF`; of one that waits, the second word is `->`.
fn holder(locks: &str, file: &str) -> Option<u32> {
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (kind, pid, locked) = (words.next()?, words.nth(2)?, words.next()?);
        (kind == "FLOCK" && locked == file).then(|| pid.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_list() {
        let locks = "1: POSIX  ADVISORY  WRITE 7 fe:00:99 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 4711 fe:00:131086 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 4712 fe:00:131086 0 EOF\n\
                     garbage\n";
        assert_eq!(holder(locks, "fe:00:131086"), Some(4711));
        assert_eq!(holder(locks, "fe:00:99"), None, "another kind of lock");
        assert_eq!(holder(locks, "fe:00:1"), None);
    }
}
