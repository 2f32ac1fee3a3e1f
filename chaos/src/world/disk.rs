//! A file system of its own for each replica, which can lose power.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use rustix::fs::{FallocateFlags, fallocate, statvfs, syncfs};
use tokio::process::Command;

use super::{bad_block, succeed, sys};

/// What a disk is formatted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// Can lose its power.
    Ext4,
    /// Has blocks that cannot be read: it checks what it reads, and what is not what was written is an error (EIO), until
    /// the block is written again. Just what a bad sector does.
    Btrfs,
}

impl FileSystem {
    /// Btrfs, where there are its tools and a kernel that knows it; or Ext4.
    pub fn with_bad_blocks() -> Self {
        if bad_block::are_possible() { Self::Btrfs } else { Self::Ext4 }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Btrfs => "btrfs",
        }
    }
}

/// Removes the files that hold file systems from the directory of a run that is over.
pub fn remove_images(dir: &Path) -> anyhow::Result<()> {
    let kinds = [FileSystem::Ext4, FileSystem::Btrfs].map(FileSystem::name);
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kinds.iter().any(|name| kind == *name)) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// A file system in a file. Its mount is seen by this process and those that it starts, and goes with them.
pub struct Disk {
    file_system: FileSystem,
    image: PathBuf,
    mount: PathBuf,
    canaries: u32,
}

impl Disk {
    /// Makes and mounts one of so many bytes.
    pub async fn make(dir: &Path, name: &str, bytes: u64, file_system: FileSystem) -> anyhow::Result<Self> {
        let (image, mount) = (dir.join(format!("{name}.{}", file_system.name())), dir.join(name));
        File::create(&image)?.set_len(bytes)?;
        let mut make = match file_system {
            FileSystem::Ext4 => {
                let mut make = Command::new("mkfs.ext4");
                make.args(["-q", "-F", "-m", "0"]);
                make
            }
            FileSystem::Btrfs => {
                let mut make = Command::new("mkfs.btrfs");
                make.args(["-q", "-f", "--data", "single"]);
                make
            }
        };
        succeed(make.arg(&image)).await?;
        fs::create_dir_all(&mount)?;
        let disk = Self { file_system, image, mount, canaries: 0 };
        disk.mount().await?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// Mounts it again.
    pub async fn mount(&self) -> anyhow::Result<()> {
        let options = match self.file_system {
            FileSystem::Ext4 => "loop,noatime",
            // Small files too have blocks of their own.
            FileSystem::Btrfs => "loop,noatime,max_inline=0",
        };
        succeed(Command::new("mount").args(["-o", options]).args([&self.image, &self.mount])).await
    }

    /// The block of a file that holds the byte at `at` cannot be read any more, until it is written again as a whole. Whether
    /// there is such a block on the disk: what was never written is none.
    pub async fn spoil(&self, path: &Path, at: u64) -> anyhow::Result<bool> {
        ensure!(self.file_system == FileSystem::Btrfs, "an Ext4 disk has no bad blocks");
        bad_block::make(&self.image, path, at).await
    }

    /// Cuts its power: what was not synced is gone. Whoever has files open there must be ended before it is
    /// [mounted again](Self::power_on). Returns what [`Canary::is_dead`] looks at.
    pub fn power_off(&mut self) -> anyhow::Result<Canary> {
        self.canaries += 1;
        let path = self.mount.join(format!("canary-{}", self.canaries));
        let mut canary = File::create(&path)?;
        canary.write_all(b"not synced")?;
        sys::shut_down(&canary).context("cannot cut the power of a file system")?;
        let refused = File::create(self.mount.join("late")).is_err();
        Ok(Canary { path, refused })
    }

    /// Mounts it after a power cut.
    pub async fn power_on(&self) -> anyhow::Result<()> {
        succeed(Command::new("umount").arg(&self.mount)).await?;
        self.mount().await
    }

    /// Takes all free room, also what somebody gave back since the last time. Returns how much is taken.
    pub fn fill(&self) -> anyhow::Result<u64> {
        let ballast = File::options().create(true).append(true).open(self.ballast())?;
        let (mut taken, mut piece) = (ballast.metadata()?.len(), 1 << 30);
        // Ever smaller pieces, until not even a block is left.
        while piece >= 4096 {
            match fallocate(&ballast, FallocateFlags::empty(), taken, piece) {
                Ok(()) => taken += piece,
                Err(_) => piece /= 2,
            }
        }
        ensure!(self.free()? < 1 << 20, "the disk is not full");
        Ok(taken)
    }

    /// Gives the room back, also for after a power cut.
    pub fn drain(&self) -> anyhow::Result<()> {
        fs::remove_file(self.ballast())?;
        Ok(syncfs(File::open(&self.mount)?)?)
    }

    /// Free bytes.
    pub fn free(&self) -> anyhow::Result<u64> {
        let found = statvfs(&self.mount)?;
        Ok(found.f_bavail * found.f_frsize)
    }

    fn ballast(&self) -> PathBuf {
        self.mount.join("ballast")
    }
}

/// A file that was written just before a power cut, and not synced.
#[derive(Debug)]
pub struct Canary {
    path: PathBuf,
    refused: bool,
}

impl Canary {
    /// Whether the power cut was one: what was not synced is gone, and nothing could be written afterwards. To be asked when
    /// the disk is mounted again.
    pub fn is_dead(&self) -> bool {
        self.refused && fs::read(&self.path).map_or(true, |content| content.is_empty())
    }
}
