//! The seam between the log and the world: a directory of files with positioned writes.
//!
//! Two implementors: [`crate::DiskDir`] and [`crate::faulty::FaultyDisk`]. Both pass the suite in
//! `tests/conformance.rs`, which is this contract in executable form.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

/// One directory that holds one log.
///
/// All methods block. Creation and removal are durable after [`LogDir::sync_dir`], not before; until then a crash may
/// keep either state of each name.
pub trait LogDir: Send + Sync + Debug {
    /// Names of all files, in no particular order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Creates an empty file. `AlreadyExists` if the name is taken.
    fn create(&self, name: &str) -> io::Result<Arc<dyn SegmentIo>>;

    /// Opens an existing file. `NotFound` if there is none.
    fn open(&self, name: &str) -> io::Result<Arc<dyn SegmentIo>>;

    /// Removes a file's name. Slices of it stay valid; a handle that was not used for reading may be none. `NotFound` if
    /// there is none. The file's room may come back later.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Gives back some of the room of removed files. Called again and again where blocking is allowed.
    fn free_removed(&self) {}

    /// Bytes of removed files whose room was not given back yet.
    fn leaving_bytes(&self) -> u64 {
        0
    }

    /// Makes every creation and removal before the call durable.
    fn sync_dir(&self) -> io::Result<()>;

    /// The file's full name for people: what errors and the log print.
    fn path_of(&self, name: &str) -> String;

    /// Lets go of memory above the directory's own bound, if it has one. Called now and then where blocking is allowed.
    fn shrink_cache(&self) {}
}

/// What disks and file systems read and write at once, or not at all.
pub(crate) const PAGE: u64 = 4096;

/// One file of the log.
///
/// Writes and reads may run at the same time from several threads; the log writes a position once before it reads it.
pub trait SegmentIo: Send + Sync + Debug {
    /// Length of the file in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Writes all of `bytes` at `pos`, extending the file if they end behind it. Readable on return, durable after
    /// [`SegmentIo::sync`]. On an error any part of the bytes may have been written.
    fn write_at(&self, pos: u64, bytes: &[u8]) -> io::Result<()>;

    /// Reads up to `buf.len()` bytes at `pos`; fewer only at the end of the file. A failing disk is an error here, not
    /// a signal: recovery and checks read this way.
    fn read_at(&self, pos: u64, buf: &mut [u8]) -> io::Result<usize>;

    /// The bytes at `pos..pos + len`, without copying them where the implementation can. `UnexpectedEof` if they end
    /// behind the file. They stay readable while the returned handle lives, whatever becomes of the file's name. Bytes
    /// that are zeroed later may be seen as zero.
    fn slice(&self, pos: u64, len: u64) -> io::Result<Bytes>;

    /// Brings the bytes at `pos..pos + len`, which lie inside the file, into memory, so that who reads a slice of them
    /// soon does not wait for the disk. Blocks. A failing disk is an error here, not a signal.
    fn load(&self, pos: u64, len: u64) -> io::Result<()> {
        let mut buffer = vec![0; len.min(64 << 10) as usize];
        let mut at = pos;
        while at < pos + len {
            let wanted = buffer.len().min((pos + len - at) as usize);
            match self.read_at(at, &mut buffer[..wanted])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => at += read as u64,
            }
        }
        Ok(())
    }

    /// Makes the file `len` bytes long and gives it its disk space, so that later writes inside need none. Bytes never
    /// written read as zero. Never shrinks. `StorageFull` if there is no space; the file may then have any length.
    fn preallocate(&self, len: u64) -> io::Result<()>;

    /// Makes `pos..pos + len`, which lies inside the file, read as zero. Durable after [`SegmentIo::sync`].
    fn zero_range(&self, pos: u64, len: u64) -> io::Result<()>;

    /// Writes zeros to `pos..pos + len`, which lies inside the file, while others write and sync elsewhere in it. Waits
    /// for no disk: once it has returned, others may write there.
    fn prewrite(&self, pos: u64, len: u64) -> io::Result<()>;

    /// Makes durable what was prewritten, and what was written since. That something could not be made durable is told
    /// to the next [`SegmentIo::sync`] as well, whoever wrote it.
    fn sync_prewritten(&self) -> io::Result<()>;

    /// The first position from `pos` on that may hold anything but zeros; `None` if all is zero to the file's end.
    /// Lets recovery skip what was preallocated and never written. Answering `pos` is always right.
    fn next_data(&self, pos: u64) -> io::Result<Option<u64>>;

    /// Makes all writes, zeroed ranges and the length durable. An error says that the state on disk is unknown and
    /// stays unknown: a later success says nothing about what failed before.
    fn sync(&self) -> io::Result<()>;

    /// A hint that nothing will be written soon: what is only needed for writing may be let go of.
    fn release(&self);
}
