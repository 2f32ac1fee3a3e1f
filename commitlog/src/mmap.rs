//! Read-only maps of segment files: the one place with `unsafe` in the workspace.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;

use bytes::Bytes;
use memmap2::Mmap;

/// Maps the whole file for reading. Slices of the result share one map, which is unmapped when the last of them is
/// dropped; the file may be closed or unlinked before.
pub(crate) fn map_readonly(file: &File) -> io::Result<Bytes> {
    // SAFETY: a map is unsafe because the file can change under it, and because a file that shrinks turns reads into
    // SIGBUS. What holds here:
    // - The directory is locked for this process (`DiskDir::open`), and no code in this crate ever shortens a file.
    // - Files are mapped after they got their full length, so the map covers allocated bytes only.
    // - The log hands out slices of written frames only. Bytes of a written frame do not change while it is in the
    //   log; truncation zeroes them, and a reader that still holds such a slice sees zeros instead. Nothing derived
    //   from mapped bytes is trusted without a bounds check, so a torn read is at worst a failed checksum.
    // - Writers use positioned writes, never this map, so no `&mut` to the memory exists.
    let map = unsafe { Mmap::map(file)? };
    Ok(Bytes::from_owner(map))
}
