//! A disk that can be filled.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A small disk of its own. Unmounted when dropped.
pub struct Disk {
    dir: TempDir,
}

impl Disk {
    /// Mounts one of so many bytes. Errors: why that cannot be done here.
    pub fn mount(bytes: u64) -> Result<Self, String> {
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let options = format!("size={bytes}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir.path()).output();
        match mounted {
            Ok(output) if output.status.success() => Ok(Self { dir }),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(format!("mount: {error}")),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes so many bytes to a file, behind what it has, or as many as fit.
    pub fn fill(&self, bytes: usize) -> PathBuf {
        let path = self.path().join("ballast");
        let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        let piece = vec![1; 64 << 10];
        for _ in 0..bytes.div_ceil(piece.len()) {
            if file.write_all(&piece).is_err() {
                break;
            }
        }
        path
    }

    /// Whether it has no room for anything.
    pub fn is_full(&self) -> bool {
        rustix::fs::statvfs(self.path()).unwrap().f_bavail == 0
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, since replicas may just be ending.
        let unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} stays mounted", self.path().display());
        }
    }
}
