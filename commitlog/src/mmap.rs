//! Read-only maps of segment files: the one place with `unsafe` in what a replica runs.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use memmap2::{Advice, Mmap, UncheckedAdvice};
use rustix::io::Errno;

/// A file, mapped whole for reading. Slices of `bytes` share the map, which is unmapped when the last of them is
/// dropped; the file may be closed or unlinked before.
#[derive(Clone, Debug)]
pub(crate) struct Map {
    mmap: Arc<Mmap>,
    pub bytes: Bytes,
}

struct Owner(Arc<Mmap>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Map {
    /// Maps all that the file has now.
    pub fn of(file: &File) -> io::Result<Map> {
        // SAFETY: a map is unsafe because the file can change under it, and because a file that shrinks turns reads into
        // SIGBUS. What holds here:
        // - The directory is locked for this process (`DiskDir::open`). A file is only shortened when it has lost its name,
        //   no map of it is left and none can be made any more (`disk/leaving.rs`). Whoever looks on from another process
        //   (`DiskDir::open_to_inspect`) reads without maps.
        // - Files are mapped after they got their full length, so the map covers allocated bytes only.
        // - The log hands out slices of written frames only. Bytes of a written frame do not change while it is in the
        //   log; truncation zeroes them, and a reader that still holds such a slice sees zeros instead. Nothing derived
        //   from mapped bytes is trusted without a bounds check, so a torn read is at worst a failed checksum.
        // - Writers use positioned writes, never this map, so no `&mut` to the memory exists.
        let mmap = Arc::new(unsafe { Mmap::map(file)? });
        let bytes = Bytes::from_owner(Owner(Arc::clone(&mmap)));
        Ok(Map { mmap, bytes })
    }

    /// Whether it is still there, for who must not keep it.
    pub fn downgrade(&self) -> Weak<Mmap> {
        Arc::downgrade(&self.mmap)
    }

    /// Takes the range out of this process's page table, without which the page cache cannot let go of it. It can be
    /// read as before, from the file.
    pub fn unload(&self, pos: u64, len: u64) -> io::Result<()> {
        // SAFETY: this advice is unsafe because private or anonymous memory loses its content by it. This map is of a
        // file and is never written: what is read next comes from the file, which has the same bytes.
        unsafe { self.mmap.unchecked_advise_range(UncheckedAdvice::DontNeed, pos as usize, len as usize) }
    }

    /// Reads the range from the disk where it is not in memory, and waits for it. A disk that fails is an error here, where
    /// reading the bytes would be a signal. Before Linux 5.14 it may do nothing.
    pub fn load(&self, pos: u64, len: u64) -> io::Result<()> {
        match self.mmap.advise_range(Advice::PopulateRead, pos as usize, len as usize) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => Ok(()),
            // What the kernel would signal.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::FAULT) => Err(Errno::IO.into()),
            loaded => loaded,
        }
    }

    /// What is not in memory is read page by page when it is touched, and by [`Map::read_ahead`] and [`Map::load`]. The kernel
    /// adds nothing of its own.
    pub fn read_only_what_is_asked_for(&self) {
        // Without it, more is read.
        let _ = self.mmap.advise(Advice::Random);
    }

    /// Has the range read from the disk, without waiting for it.
    pub fn read_ahead(&self, pos: u64, len: u64) -> io::Result<()> {
        self.mmap.advise_range(Advice::WillNeed, pos as usize, len as usize)
    }
}

#[cfg(test)]
impl Map {
    /// Bytes of the file that are in memory now, mapped or not.
    pub fn in_memory(&self) -> u64 {
        const PAGE: usize = 4096;
        let mut pages = vec![0u8; self.mmap.len().div_ceil(PAGE)];
        // SAFETY: the range is that of a live map, and `pages` has a byte for each page of it.
        let result = unsafe {
            libc::mincore(self.mmap.as_ptr().cast_mut().cast(), self.mmap.len(), pages.as_mut_ptr())
        };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
        pages.iter().filter(|page| **page & 1 == 1).count() as u64 * PAGE as u64
    }
}
