//! Blocks of files that cannot be read.
//!
//! Btrfs keeps a checksum of each block, apart from it. So a block that is changed below the file system is one that cannot be
//! read any more: EIO, also through a map. Written again as a whole it goes elsewhere on the disk, and can be read: just
//! what a sector does that has gone bad.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context, bail};
use rustix::fs::{Advice, fadvise, syncfs};
use tokio::process::Command;
use trireme_commitlog::is_unreadable;

/// Bytes of a block.
const BLOCK: u64 = 4096;

/// Whether there are the tools, and a kernel that knows the file system.
pub(super) fn are_possible() -> bool {
    static ARE: OnceLock<bool> = OnceLock::new();
    let says = |tool: &str, arg: &str| {
        std::process::Command::new(tool).arg(arg).output().is_ok_and(|said| said.status.success())
    };
    *ARE.get_or_init(|| {
        let knows = fs::read_to_string("/proc/filesystems").is_ok_and(|all| all.contains("btrfs"));
        knows && says("mkfs.btrfs", "--version") && says("btrfs", "version") && says("filefrag", "-V")
    })
}

/// Makes the block that holds the byte at `at` of a file unreadable. It lies on the file system in `image`, whose data have one
/// copy. Proved: who reads it has an error. Whether there is such a block: what was never written is none.
pub(super) async fn make(image: &Path, path: &Path, at: u64) -> anyhow::Result<bool> {
    let file = File::open(path)?;
    syncfs(&file)?;
    let extents = said(Command::new("filefrag").args(["-v", "-b4096"]).arg(path)).await?;
    let Some(logical) = logical(&extents, at / BLOCK) else { return Ok(false) };
    let dump = ["inspect-internal", "dump-tree", "-t", "chunk"];
    let chunks = said(Command::new("btrfs").args(dump).arg(image)).await?;
    let physical = physical(&chunks, logical).with_context(|| format!("where is {logical}? {chunks}"))?;
    let noise: Vec<u8> = (0..BLOCK).map(|n| (n as u8).wrapping_mul(167) ^ 0x5a).collect();
    File::options().write(true).open(image)?.write_all_at(&noise, physical)?;
    fadvise(&file, 0, None, Advice::DontNeed)?;
    match file.read_at(&mut [0], at / BLOCK * BLOCK) {
        Err(error) if is_unreadable(&error) => Ok(true),
        read => bail!("block {} of {} can be read still: {read:?}", at / BLOCK, path.display()),
    }
}

async fn said(command: &mut Command) -> anyhow::Result<String> {
    Ok(String::from_utf8_lossy(&command.output().await?.stdout).into_owned())
}

/// The address by which Btrfs knows a block of a file, of what `filefrag -v -b4096` says. `None` in a hole, and where room was
/// made and nothing written.
fn logical(extents: &str, block: u64) -> Option<u64> {
    // Number: first..last in the file: first..last on the disk: length: expected: flags
    let range = |field: &str| -> Option<(u64, u64)> {
        let (from, to) = field.split_once("..")?;
        Some((from.trim().parse().ok()?, to.trim().parse().ok()?))
    };
    extents.lines().find_map(|line| {
        let mut fields = line.split(':').skip(1);
        let (here, there) = (range(fields.next()?)?, range(fields.next()?)?);
        let is_it = here.0 <= block && block <= here.1 && !line.contains("unwritten");
        is_it.then(|| (there.0 + block - here.0) * BLOCK)
    })
}

/// Where that is on the device, of what `btrfs inspect-internal dump-tree -t chunk` says.
fn physical(chunks: &str, logical: u64) -> Option<u64> {
    let number = |text: &str| text.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok();
    let behind = |line: &str, mark: &str| number(line.split_once(mark)?.1);
    let (mut start, mut holds) = (0, false);
    for line in chunks.lines() {
        if let Some(at) = behind(line, "CHUNK_ITEM ") {
            (start, holds) = (at, false);
        } else if let Some(len) = behind(line, "\t\tlength ") {
            holds = start <= logical && logical < start + len;
        } else if let Some(offset) = behind(line, "stripe 0 devid 1 offset ").filter(|_| holds) {
            return Some(offset + logical - start);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_tools_say_is_understood() {
        let extents = " ext:     logical_offset:        physical_offset: length:   expected: flags:\n   \
            0:        0..      24:       3328..      3352:     25:\n   \
            1:       30..      39:       5000..      5009:     10:             unwritten,last,eof\n";
        assert_eq!(logical(extents, 24), Some(3352 * 4096));
        assert_eq!([25, 30, 40].map(|block| logical(extents, block)), [None; 3]);
        let chunks = "\titem 1 key (FIRST_CHUNK_TREE CHUNK_ITEM 13631488) itemoff 16105 itemsize 80\n\
            \t\tlength 8388608 owner 2 stripe_len 65536 type DATA|single\n\
            \t\t\tstripe 0 devid 1 offset 1000000\n\
            \titem 3 key (FIRST_CHUNK_TREE CHUNK_ITEM 30408704) itemoff 15881 itemsize 112\n\
            \t\tlength 53673984 owner 2 stripe_len 65536 type METADATA|DUP\n\
            \t\t\tstripe 0 devid 1 offset 38797312\n";
        assert_eq!(physical(chunks, 13631488 + 5), Some(1000005));
        assert_eq!(physical(chunks, 30408704 + 5), Some(38797317));
        assert_eq!(physical(chunks, 25000000), None);
    }
}
