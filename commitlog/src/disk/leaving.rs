//! Files that are removed give their room back a piece at a time.
//!
//! To remove a file of a gibibyte at once keeps a disk busy for a tenth of a second or more, above all one that is told
//! what became free (`discard`), and every sync waits for that. So a large file loses its name at once, and its
//! length bit by bit. A file that is shortened under a map turns reads into signals: it keeps its length while anybody
//! may read it.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use memmap2::Mmap;
use parking_lot::Mutex;

/// What a smaller file has goes at once.
const SMALL: u64 = 16 << 20;
/// The least that goes in a second.
const BYTES_PER_SECOND: u64 = 160 << 20;
/// All that is there goes within about so many seconds; where much is written, much is removed.
const SECONDS: u64 = 6;
/// The most that goes at once.
const PIECE: u64 = 32 << 20;
/// Room for one step is that of so long; longer pauses are not made up for.
const LONGEST: Duration = Duration::from_millis(200);

/// Whether a file may still be mapped, and whether anybody has it mapped. One for each handle to it.
#[derive(Debug, Default)]
pub(super) struct Life {
    state: Mutex<LifeState>,
}

#[derive(Debug, Default)]
struct LifeState {
    is_leaving: bool,
    map: Weak<Mmap>,
}

impl Life {
    /// Makes a map with `make`, unless the file is leaving.
    pub fn map<T>(&self, make: impl FnOnce() -> std::io::Result<(T, Weak<Mmap>)>) -> std::io::Result<T> {
        let mut state = self.state.lock();
        if state.is_leaving {
            return Err(std::io::ErrorKind::NotFound.into());
        }
        let (made, map) = make()?;
        state.map = map;
        Ok(made)
    }

    fn leave(&self) {
        self.state.lock().is_leaving = true;
    }

    /// Whether somebody may read through a map. Once it is not so, it will not be again.
    fn is_mapped(&self) -> bool {
        self.state.lock().map.strong_count() > 0
    }
}

/// The lives of a directory's files, and the files that are leaving.
#[derive(Debug)]
pub(super) struct Leaving {
    lives: Mutex<HashMap<String, Vec<Arc<Life>>>>,
    /// Held while files are shortened, which may take long.
    files: Mutex<Files>,
    /// Of all `files`.
    bytes: AtomicU64,
}

#[derive(Debug)]
struct Files {
    last: Instant,
    files: Vec<Nameless>,
}

#[derive(Debug)]
struct Nameless {
    file: File,
    len: u64,
    lives: Vec<Arc<Life>>,
}

impl Leaving {
    pub fn new() -> Self {
        let files = Files { last: Instant::now(), files: Vec::new() };
        Self { lives: Mutex::default(), files: Mutex::new(files), bytes: AtomicU64::new(0) }
    }

    /// A handle to the file of this name is made.
    pub fn begin(&self, name: &str) -> Arc<Life> {
        let life = Arc::new(Life::default());
        let mut lives = self.lives.lock();
        let of_file = lives.entry(name.to_owned()).or_default();
        // Whose handle is gone, and whose map.
        of_file.retain(|life| Arc::strong_count(life) > 1 || life.is_mapped());
        of_file.push(Arc::clone(&life));
        life
    }

    /// The file has lost its name, and `file` is the last of its descriptors but those of readers.
    pub fn end(&self, name: &str, file: Option<File>) {
        let lives = self.lives.lock().remove(name).unwrap_or_default();
        lives.iter().for_each(|life| life.leave());
        if let Some(file) = file
            && let Ok(found) = file.metadata()
            && let len = found.len()
            && SMALL < len
            // Somebody has given it another name, for a backup say: it is not ours alone.
            && found.nlink() == 0
        {
            let mut files = self.files.lock();
            files.files.push(Nameless { file, len, lives });
            self.bytes.fetch_add(len, Ordering::Relaxed);
        }
    }

    /// Bytes of the files that are leaving. Does not wait for those that are being shortened.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Gives back as much as the time since the last call allows.
    pub fn step(&self) {
        let mut files = self.files.lock();
        let passed = files.last.elapsed().min(LONGEST);
        files.last = Instant::now();
        let total = self.bytes();
        if total == 0 {
            return;
        }
        let rate = BYTES_PER_SECOND.max(total / SECONDS);
        let mut left = (rate / 1000 * u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)).min(PIECE);
        files.files.retain_mut(|nameless| {
            if left == 0 || nameless.lives.iter().any(|life| life.is_mapped()) {
                return true;
            }
            let given = left.min(nameless.len);
            left -= given;
            nameless.len -= given;
            // What cannot be shortened goes at once, when it is closed.
            let stays = nameless.file.set_len(nameless.len).is_ok() && nameless.len > 0;
            self.bytes.fetch_sub(if stays { given } else { given + nameless.len }, Ordering::Relaxed);
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;
    use crate::dir::LogDir;
    use crate::disk::DiskDir;

    const LEN: u64 = 64 << 20;

    /// As `cp --link` makes a backup.
    #[test]
    fn what_has_another_name_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let disk = DiskDir::open(dir.path().join("log")).unwrap();
        disk.create("large").unwrap().preallocate(LEN).unwrap();
        let backup = dir.path().join("backup");
        fs::hard_link(dir.path().join("log/large"), &backup).unwrap();
        disk.remove("large").unwrap();
        assert_eq!(disk.leaving_bytes(), 0);
        std::thread::sleep(Duration::from_millis(30));
        disk.free_removed();
        assert_eq!(fs::metadata(&backup).unwrap().len(), LEN);
    }

    #[test]
    fn a_large_file_goes_bit_by_bit_and_never_under_a_reader() {
        let dir = tempfile::tempdir().unwrap();
        let disk = DiskDir::open(dir.path()).unwrap();
        let file = disk.create("large").unwrap();
        file.preallocate(LEN).unwrap();
        file.write_at(LEN - 5, b"bytes").unwrap();
        let slice = file.slice(LEN - 5, 5).unwrap();
        let other = disk.open("large").unwrap();
        disk.remove("large").unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(disk.leaving_bytes(), LEN);
        let step = || {
            std::thread::sleep(Duration::from_millis(30));
            disk.free_removed();
            disk.leaving_bytes()
        };
        // A handle that was not used for reading so far cannot begin now.
        assert!(other.slice(0, 5).is_err());
        assert_eq!(step(), LEN);
        drop(file);
        assert_eq!(step(), LEN, "there is a slice");
        assert_eq!(slice, &b"bytes"[..]);
        // The same name again is another file.
        let next = disk.create("large").unwrap();
        next.preallocate(LEN).unwrap();
        drop(slice);
        let mut before = LEN;
        while before > 0 {
            let after = step();
            assert!(after < before && before - after <= PIECE, "{before} -> {after}");
            before = after;
        }
        assert_eq!(next.slice(LEN - 5, 5).unwrap(), &[0; 5][..]);
    }
}
