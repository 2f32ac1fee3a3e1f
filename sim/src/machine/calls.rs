//! What is called instead of the C library.
//!
//! Each does what it is asked to, with the system call itself, and tells the disks. Nobody's data is synced for real.

use std::ffi::{c_char, c_int, c_long, c_uint, c_void};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use libc::{iovec, mode_t, off64_t, pid_t, size_t, ssize_t, timespec};

use super::disk::Disks;
use super::{DISKS, EPOCH, IS_OURS, NOW, RANDOM, next_random, raw};

const CWD: c_long = libc::AT_FDCWD as c_long;

/// Tells the disks, if anything is simulated, in one step with the call: sled's threads write too.
fn told<T>(call: impl FnOnce(Option<&mut Disks>) -> T) -> T {
    if IS_OURS.try_with(|ours| ours.get()).unwrap_or(true) {
        return call(None);
    }
    let mut disks = DISKS.lock();
    call(disks.as_mut())
}

#[unsafe(no_mangle)]
extern "C" fn clock_gettime(clock: c_int, time: *mut timespec) -> c_int {
    let is_simulated = RANDOM.try_with(|random| random.get().is_some()).unwrap_or(false);
    if !is_simulated {
        return raw::call(libc::SYS_clock_gettime, [clock.into(), time as c_long, 0, 0, 0, 0]) as c_int;
    }
    let now = NOW.load(Ordering::Relaxed);
    let since = match clock {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE => EPOCH,
        // A machine that has run for a while.
        _ => 100_000,
    };
    // SAFETY: whoever calls gave room for it.
    unsafe {
        (*time).tv_sec = (since + now / 1_000_000_000) as libc::time_t;
        (*time).tv_nsec = (now % 1_000_000_000) as c_long;
    }
    0
}

#[unsafe(no_mangle)]
extern "C" fn getrandom(bytes: *mut c_void, len: size_t, flags: c_uint) -> ssize_t {
    // SAFETY: whoever calls gave room for so many.
    let room = unsafe { std::slice::from_raw_parts_mut(bytes.cast::<u8>(), len) };
    for chunk in room.chunks_mut(8) {
        let Some(random) = next_random() else {
            let args = [bytes as c_long, len as c_long, c_long::from(flags), 0, 0, 0];
            return raw::call(libc::SYS_getrandom, args) as ssize_t;
        };
        chunk.copy_from_slice(&random.to_le_bytes()[..chunk.len()]);
    }
    len as ssize_t
}

#[unsafe(no_mangle)]
extern "C" fn getpid() -> pid_t {
    match RANDOM.try_with(|random| random.get().is_some()) {
        Ok(true) => 4242,
        _ => raw::call(libc::SYS_getpid, [0; 6]) as pid_t,
    }
}

// Opening.

fn opened(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    told(|disks| {
        let args = [dir.into(), path as c_long, flags.into(), c_long::from(mode), 0, 0];
        let fd = raw::call(libc::SYS_openat, args) as c_int;
        if let Some(disks) = disks
            && fd >= 0
            && flags & (libc::O_CREAT | libc::O_TRUNC) != 0
            && let (Some(path), Some(stat)) = (raw::path_at(dir, path), raw::stat(fd))
        {
            disks.opened(&path, &stat, flags & libc::O_TRUNC != 0);
        }
        fd
    })
}

#[unsafe(no_mangle)]
extern "C" fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    opened(libc::AT_FDCWD, path, flags, mode)
}

#[unsafe(no_mangle)]
extern "C" fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    opened(libc::AT_FDCWD, path, flags, mode)
}

#[unsafe(no_mangle)]
extern "C" fn openat(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    opened(dir, path, flags, mode)
}

#[unsafe(no_mangle)]
extern "C" fn openat64(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    opened(dir, path, flags, mode)
}

// Writing.

fn wrote(fd: c_int, bytes: &[u8], at: Option<off64_t>) -> ssize_t {
    told(|disks| {
        let Some((disks, stat)) = disks.and_then(|disks| Some((disks, raw::stat(fd)?))) else {
            return write_raw(fd, bytes, at);
        };
        let pos = at.unwrap_or_else(|| {
            let flags = raw::call(libc::SYS_fcntl, [fd.into(), c_long::from(libc::F_GETFL), 0, 0, 0, 0]);
            match flags & c_long::from(libc::O_APPEND) {
                0 => raw::call(libc::SYS_lseek, [fd.into(), 0, c_long::from(libc::SEEK_CUR), 0, 0, 0]),
                _ => stat.st_size,
            }
        });
        if let Ok(pos) = u64::try_from(pos)
            && !disks.has_room(&stat, pos + bytes.len() as u64)
        {
            return refused(libc::ENOSPC) as ssize_t;
        }
        let done = write_raw(fd, bytes, at);
        if let (Ok(done), Ok(pos)) = (usize::try_from(done), u64::try_from(pos)) {
            disks.written(&stat, pos, &bytes[..done]);
        }
        done
    })
}

fn write_raw(fd: c_int, bytes: &[u8], at: Option<off64_t>) -> ssize_t {
    let (data, len) = (bytes.as_ptr(), bytes.len());
    match at {
        Some(at) => raw::pwrite(fd, data, len, at),
        None => raw::call(libc::SYS_write, [fd.into(), data as c_long, len as c_long, 0, 0, 0]) as ssize_t,
    }
}

fn wrote_all(fd: c_int, parts: *const iovec, count: c_int, mut at: Option<off64_t>) -> ssize_t {
    let mut sum = 0;
    for nth in 0..usize::try_from(count).unwrap_or(0) {
        // SAFETY: whoever calls gave so many parts, each so long.
        let part = unsafe { &*parts.add(nth) };
        let bytes = slice(part.iov_base, part.iov_len);
        let done = wrote(fd, bytes, at);
        if done < 0 {
            return if sum > 0 { sum } else { done };
        }
        sum += done;
        at = at.map(|at| at + done as off64_t);
        if (done as usize) < bytes.len() {
            break;
        }
    }
    sum
}

fn slice<'a>(data: *const c_void, len: size_t) -> &'a [u8] {
    match len {
        0 => &[],
        // SAFETY: whoever calls gave so many bytes.
        len => unsafe { std::slice::from_raw_parts(data.cast::<u8>(), len) },
    }
}

#[unsafe(no_mangle)]
extern "C" fn write(fd: c_int, data: *const c_void, len: size_t) -> ssize_t {
    wrote(fd, slice(data, len), None)
}

#[unsafe(no_mangle)]
extern "C" fn pwrite(fd: c_int, data: *const c_void, len: size_t, at: off64_t) -> ssize_t {
    wrote(fd, slice(data, len), Some(at))
}

#[unsafe(no_mangle)]
extern "C" fn pwrite64(fd: c_int, data: *const c_void, len: size_t, at: off64_t) -> ssize_t {
    wrote(fd, slice(data, len), Some(at))
}

#[unsafe(no_mangle)]
extern "C" fn writev(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    wrote_all(fd, parts, count, None)
}

#[unsafe(no_mangle)]
extern "C" fn pwritev(fd: c_int, parts: *const iovec, count: c_int, at: off64_t) -> ssize_t {
    wrote_all(fd, parts, count, Some(at))
}

#[unsafe(no_mangle)]
extern "C" fn pwritev64(fd: c_int, parts: *const iovec, count: c_int, at: off64_t) -> ssize_t {
    wrote_all(fd, parts, count, Some(at))
}

#[unsafe(no_mangle)]
extern "C" fn ftruncate64(fd: c_int, len: off64_t) -> c_int {
    told(|disks| {
        let stat = raw::stat(fd);
        let done = raw::call(libc::SYS_ftruncate, [fd.into(), len, 0, 0, 0, 0]) as c_int;
        if let (0, Some(disks), Some(stat), Ok(len)) = (done, disks, stat, u64::try_from(len)) {
            disks.has_length(&stat, len);
        }
        done
    })
}

#[unsafe(no_mangle)]
extern "C" fn ftruncate(fd: c_int, len: off64_t) -> c_int {
    ftruncate64(fd, len)
}

#[unsafe(no_mangle)]
extern "C" fn fallocate64(fd: c_int, mode: c_int, at: off64_t, len: off64_t) -> c_int {
    told(|mut disks| {
        let stat = raw::stat(fd);
        let end = u64::try_from(at.saturating_add(len)).unwrap_or(0);
        if let (Some(disks), Some(stat)) = (&mut disks, &stat)
            && mode & libc::FALLOC_FL_PUNCH_HOLE == 0
            && !disks.has_room(stat, end)
        {
            return refused(libc::ENOSPC);
        }
        let done = raw::call(libc::SYS_fallocate, [fd.into(), mode.into(), at, len, 0, 0]) as c_int;
        if let (0, Some(disks), Some(stat)) = (done, disks, stat)
            && let (Ok(at), Ok(len)) = (u64::try_from(at), u64::try_from(len))
        {
            let zeroes = libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_PUNCH_HOLE;
            if mode & zeroes != 0 {
                disks.written(&stat, at, &vec![0; usize::try_from(len).unwrap_or(0)]);
            }
            if mode & libc::FALLOC_FL_KEEP_SIZE == 0 && at + len > stat.st_size.cast_unsigned() {
                disks.has_length(&stat, at + len);
            }
        }
        done
    })
}

#[unsafe(no_mangle)]
extern "C" fn fallocate(fd: c_int, mode: c_int, at: off64_t, len: off64_t) -> c_int {
    fallocate64(fd, mode, at, len)
}

// Syncing.

fn synced(fd: c_int) -> c_int {
    told(|disks| {
        let (Some(disks), Some(stat)) = (disks, raw::stat(fd)) else { return 0 };
        done(match stat.st_mode & libc::S_IFMT {
            libc::S_IFDIR => raw::path_of(fd).is_none_or(|path| disks.synced_dir(&path)),
            _ => disks.synced(&stat),
        })
    })
}

/// What a call returns that was done, or that a disk refused.
fn done(is_done: bool) -> c_int {
    if is_done { 0 } else { refused(libc::EIO) }
}

fn refused(reason: c_int) -> c_int {
    // SAFETY: it is this thread's own.
    unsafe { *libc::__errno_location() = reason };
    -1
}

#[unsafe(no_mangle)]
extern "C" fn fsync(fd: c_int) -> c_int {
    synced(fd)
}

#[unsafe(no_mangle)]
extern "C" fn fdatasync(fd: c_int) -> c_int {
    synced(fd)
}

/// Makes nothing durable: neither blocks that are new nor lengths, and the disk may have it in a cache of its own. Source:
/// sync_file_range(2), "Warning".
#[unsafe(no_mangle)]
extern "C" fn sync_file_range(_fd: c_int, _at: off64_t, _len: off64_t, _flags: c_uint) -> c_int {
    0
}

/// How much room a disk has.
fn asked_for_room(path: Option<PathBuf>, found: *mut libc::statvfs64) -> c_int {
    let room = told(|disks| disks.map_or(0, |disks| path.map_or(0, |path| disks.room(&path))));
    // SAFETY: whoever calls gave room for it; all of its fields are numbers.
    let found = unsafe {
        found.write_bytes(0, 1);
        &mut *found
    };
    (found.f_bsize, found.f_frsize) = (4096, 4096);
    (found.f_blocks, found.f_bfree, found.f_bavail) = (1 << 24, room / 4096, room / 4096);
    found.f_namemax = 255;
    0
}

#[unsafe(no_mangle)]
extern "C" fn fstatvfs64(fd: c_int, found: *mut libc::statvfs64) -> c_int {
    asked_for_room(raw::path_of(fd), found)
}

#[unsafe(no_mangle)]
extern "C" fn fstatvfs(fd: c_int, found: *mut libc::statvfs64) -> c_int {
    fstatvfs64(fd, found)
}

#[unsafe(no_mangle)]
extern "C" fn statvfs64(path: *const c_char, found: *mut libc::statvfs64) -> c_int {
    asked_for_room(raw::path_at(libc::AT_FDCWD, path), found)
}

#[unsafe(no_mangle)]
extern "C" fn statvfs(path: *const c_char, found: *mut libc::statvfs64) -> c_int {
    statvfs64(path, found)
}

#[unsafe(no_mangle)]
extern "C" fn syncfs(fd: c_int) -> c_int {
    told(|disks| {
        let (Some(disks), Some(path)) = (disks, raw::path_of(fd)) else { return 0 };
        done(disks.synced_all(&path))
    })
}

// Names.

#[unsafe(no_mangle)]
extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    told(|disks| {
        let args = [CWD, from as c_long, CWD, to as c_long, 0, 0];
        let done = raw::call(libc::SYS_renameat2, args) as c_int;
        if let (0, Some(disks)) = (done, disks)
            && let (Some(from), Some(to)) =
                (raw::path_at(libc::AT_FDCWD, from), raw::path_at(libc::AT_FDCWD, to))
        {
            disks.renamed(&from, &to);
        }
        done
    })
}

#[unsafe(no_mangle)]
extern "C" fn unlinkat(dir: c_int, path: *const c_char, flags: c_int) -> c_int {
    told(|disks| {
        let at = raw::path_at(dir, path);
        let done =
            raw::call(libc::SYS_unlinkat, [dir.into(), path as c_long, flags.into(), 0, 0, 0]) as c_int;
        if let (0, Some(disks), Some(at)) = (done, disks, at) {
            disks.removed(&at);
        }
        done
    })
}

#[unsafe(no_mangle)]
extern "C" fn unlink(path: *const c_char) -> c_int {
    unlinkat(libc::AT_FDCWD, path, 0)
}

#[unsafe(no_mangle)]
extern "C" fn rmdir(path: *const c_char) -> c_int {
    unlinkat(libc::AT_FDCWD, path, libc::AT_REMOVEDIR)
}

#[unsafe(no_mangle)]
extern "C" fn mkdir(path: *const c_char, mode: mode_t) -> c_int {
    told(|disks| {
        let args = [CWD, path as c_long, c_long::from(mode), 0, 0, 0];
        let done = raw::call(libc::SYS_mkdirat, args) as c_int;
        if let (0, Some(disks), Some(at)) = (done, disks, raw::path_at(libc::AT_FDCWD, path)) {
            disks.made_dir(&at);
        }
        done
    })
}
