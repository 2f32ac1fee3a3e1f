//! Two system calls that no library offers: the other place with `unsafe` in the workspace, beside the log's maps.
//! Neither runs outside of a chaos run.

#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io;

use rustix::ioctl::{Opcode, Setter, ioctl};

/// `TUNSETIFF` of linux/if_tun.h: `_IOW('T', 202, int)`.
const TUN_SET_INTERFACE: Opcode = 0x4004_54ca;
/// `IFF_TAP | IFF_NO_PI`: whole Ethernet frames, and nothing before them.
const TAP: i16 = 0x0002 | 0x1000;
/// `EXT4_IOC_SHUTDOWN` of linux/ext4.h: `_IOR('X', 125, __u32)`.
const EXT4_SHUTDOWN: Opcode = 0x8004_587d;
/// `EXT4_GOING_FLAGS_NOLOGFLUSH`: nothing more is written, not even the journal.
const NO_LOG_FLUSH: u32 = 2;

/// `struct ifreq`, as far as it matters.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: i16,
    _rest: [u8; 22],
}

/// Makes a network interface in this process's network; what is sent through it is read from the file, frame by frame.
pub fn tap(name: &str) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    let mut request = Request { name: [0; 16], flags: TAP, _rest: [0; 22] };
    let len = name.len().min(15);
    request.name[..len].copy_from_slice(&name.as_bytes()[..len]);
    // SAFETY: the kernel reads a `struct ifreq` of 40 bytes from the pointer, and this is one. It writes the name back, into
    // the same bytes, which are ours and not looked at again.
    unsafe { ioctl(&file, Setter::<TUN_SET_INTERFACE, Request>::new(request)) }?;
    Ok(file)
}

/// The file system that holds `file` is gone as if power were cut: nothing more of it reaches its disk.
pub fn shut_down(file: &File) -> io::Result<()> {
    // SAFETY: the kernel reads an unsigned number of four bytes from the pointer, and nothing else.
    unsafe { ioctl(file, Setter::<EXT4_SHUTDOWN, u32>::new(NO_LOG_FLUSH)) }?;
    Ok(())
}
