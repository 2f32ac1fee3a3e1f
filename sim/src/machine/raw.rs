//! System calls themselves, past the C library.

use std::ffi::{CStr, CString, c_int, c_long};
use std::path::PathBuf;

use libc::{off64_t, size_t, ssize_t, stat64};

/// As the C library does: -1, and the reason in `errno`.
pub fn call(number: c_long, args: [c_long; 6]) -> c_long {
    // SAFETY: the caller passes on what it was called with.
    unsafe { libc::syscall(number, args[0], args[1], args[2], args[3], args[4], args[5]) }
}

pub fn pwrite(fd: c_int, data: *const u8, len: size_t, at: off64_t) -> ssize_t {
    call(libc::SYS_pwrite64, [fd.into(), data as c_long, len as c_long, at, 0, 0]) as ssize_t
}

/// What an open file is.
pub fn stat(fd: c_int) -> Option<stat64> {
    let mut found = std::mem::MaybeUninit::<stat64>::zeroed();
    let done = call(libc::SYS_fstat, [fd.into(), found.as_mut_ptr() as c_long, 0, 0, 0, 0]);
    // SAFETY: the call has filled it in.
    (done == 0).then(|| unsafe { found.assume_init() })
}

/// Where an open file or directory is.
pub fn path_of(fd: c_int) -> Option<PathBuf> {
    let link = CString::new(format!("/proc/self/fd/{fd}")).ok()?;
    let mut found = [0u8; 4096];
    let args = [
        c_long::from(libc::AT_FDCWD),
        link.as_ptr() as c_long,
        found.as_mut_ptr() as c_long,
        found.len() as c_long,
        0,
        0,
    ];
    let len = usize::try_from(call(libc::SYS_readlinkat, args)).ok()?;
    Some(PathBuf::from(String::from_utf8(found[..len].to_vec()).ok()?))
}

/// Where a call means.
pub fn path_at(dir: c_int, path: *const libc::c_char) -> Option<PathBuf> {
    // SAFETY: whoever calls gave a string that ends.
    let path = PathBuf::from(unsafe { CStr::from_ptr(path) }.to_str().ok()?);
    match path.is_absolute() {
        true => Some(path),
        false if dir == libc::AT_FDCWD => Some(std::env::current_dir().ok()?.join(path)),
        false => Some(path_of(dir)?.join(path)),
    }
}
