//! Files that are not what was written.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// What disks write at once, and lose or mix up at once.
const SECTOR: u64 = 512;

/// The files of a store, by what they are for.
pub const KINDS: [&str; 7] =
    ["segment", "segment index", "synced mark", "hard state", "checkpoint", "consume queue", "key index"];

/// Those that are made again from the others.
const DERIVED: [&str; 3] = ["segment index", "consume queue", "key index"];

/// What is done to a file.
#[derive(Clone, Debug)]
pub enum Mutation {
    /// One bit is another.
    Flip { at: u64, bit: u8 },
    /// A sector is zero.
    Zero { at: u64 },
    /// A sector holds something else.
    Noise { at: u64, seed: u8 },
    /// It ends here.
    Cut { at: u64 },
    /// It goes on with something.
    Longer { bytes: u64 },
    /// It is gone.
    Gone,
    /// The disk cannot read the block any more.
    Unreadable { at: u64 },
}

impl std::fmt::Display for Mutation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flip { at, bit } => write!(f, "bit {bit} of byte {at} flipped"),
            Self::Zero { at } => write!(f, "sector at {at} zero"),
            Self::Noise { at, .. } => write!(f, "sector at {at} overwritten"),
            Self::Cut { at } => write!(f, "cut at {at}"),
            Self::Longer { bytes } => write!(f, "{bytes} bytes appended"),
            Self::Gone => write!(f, "removed"),
            Self::Unreadable { at } => write!(f, "block at {at} unreadable"),
        }
    }
}

impl Mutation {
    /// Draws one of a file that holds something in its first `used` bytes. A good part are single bits; with `bad_blocks`,
    /// another one are blocks that cannot be read.
    pub fn draw(used: u64, bad_blocks: bool, random: &mut StdRng) -> Self {
        let at = random.random_range(0..used.max(1));
        let sector = at / SECTOR * SECTOR;
        match random.random_range(0..if bad_blocks { 17 } else { 12 }) {
            12.. => Self::Unreadable { at },
            0..6 => Self::Flip { at, bit: random.random_range(0..8) },
            6 | 7 => Self::Zero { at: sector },
            8 | 9 => Self::Noise { at: sector, seed: random.random() },
            10 => Self::Cut { at },
            _ if random.random_bool(0.5) => Self::Longer { bytes: random.random_range(1..2 * SECTOR) },
            _ => Self::Gone,
        }
    }

    /// Does it, but for [`Mutation::Unreadable`], which is the disk's part. Whether the file is another one then.
    pub fn apply(&self, path: &Path) -> anyhow::Result<bool> {
        let open = || OpenOptions::new().read(true).write(true).open(path);
        let overwrite = |at: u64, bytes: Vec<u8>| -> anyhow::Result<bool> {
            let file = open()?;
            let there = file.metadata()?.len().saturating_sub(at).min(SECTOR) as usize;
            let mut before = vec![0; there];
            file.read_exact_at(&mut before, at)?;
            file.write_all_at(&bytes[..there], at)?;
            Ok(before != bytes[..there])
        };
        match self {
            Self::Flip { at, bit } => {
                let (file, mut byte) = (open()?, [0]);
                if file.read_at(&mut byte, *at)? == 0 {
                    return Ok(false);
                }
                file.write_all_at(&[byte[0] ^ (1 << bit)], *at)?;
                Ok(true)
            }
            Self::Zero { at } => overwrite(*at, vec![0; SECTOR as usize]),
            Self::Noise { at, seed } => {
                overwrite(*at, (0..SECTOR).map(|n| (n as u8).wrapping_mul(167).wrapping_add(*seed)).collect())
            }
            Self::Cut { at } => {
                let file = open()?;
                let was = file.metadata()?.len();
                file.set_len((*at).min(was))?;
                Ok(*at < was)
            }
            Self::Longer { bytes } => {
                let file = open()?;
                file.write_all_at(&vec![0x5a; *bytes as usize], file.metadata()?.len())?;
                Ok(true)
            }
            Self::Gone => {
                fs::remove_file(path)?;
                Ok(true)
            }
            Self::Unreadable { .. } => Ok(false),
        }
    }
}

/// A file of a store, and how much of it says something.
#[derive(Clone, Debug)]
pub struct Target {
    /// What it is for.
    pub kind: &'static str,
    /// Where it is.
    pub path: PathBuf,
    used: u64,
}

impl Target {
    /// Draws a kind of which there are files, one whose name begins so, then one of these. `log_end` is where the commit log
    /// ends.
    pub fn draw(store: &Path, only: &str, log_end: u64, random: &mut StdRng) -> anyhow::Result<Self> {
        let mut files = all(store, log_end)?;
        files.retain(|file| file.kind.starts_with(only));
        let kinds: Vec<&str> =
            KINDS.into_iter().filter(|kind| files.iter().any(|file| file.kind == *kind)).collect();
        let kind = *kinds.choose(random).context("a store without files")?;
        let of_kind: Vec<&Target> = files.iter().filter(|file| file.kind == kind).collect();
        Ok((*of_kind.choose(random).context("a file")?).clone())
    }

    /// What is to be done to it.
    pub fn mutation(&self, bad_blocks: bool, random: &mut StdRng) -> Mutation {
        Mutation::draw(self.used, bad_blocks, random)
    }

    /// Whether a replica can make it again from its other files.
    pub fn is_derived(&self) -> bool {
        DERIVED.contains(&self.kind)
    }
}

fn all(store: &Path, log_end: u64) -> anyhow::Result<Vec<Target>> {
    let (mut found, mut dirs) = (Vec::new(), vec![store.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let within = path.strip_prefix(store)?.to_string_lossy().into_owned();
            let len = File::open(&path)?.metadata()?.len();
            let (kind, used) = match within.split('/').next().unwrap_or_default() {
                "commitlog" if within.ends_with(".idx") => ("segment index", len),
                "commitlog" if within.ends_with("mark") => ("synced mark", len),
                "commitlog" if within.ends_with(".log") => {
                    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                    // Behind the log's end lies what was prepared for it.
                    ("segment", log_end.saturating_sub(name.parse()?).min(len))
                }
                "hardstate" => ("hard state", len),
                "checkpoints" => ("checkpoint", len),
                "consumequeue" => ("consume queue", len),
                "index" => ("key index", len),
                _ => continue,
            };
            if used > 0 {
                found.push(Target { kind, path, used });
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}
