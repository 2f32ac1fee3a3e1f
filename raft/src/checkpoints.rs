//! Checkpoints: all replicated state at the start of a segment, kept until that segment is trimmed.
//!
//! As apply crosses into a new segment it records the state as of the entry before. Trimming segment N
//! leaves the checkpoint at the start of N+1 as the Raft snapshot: a few kilobytes from which a new
//! replica starts, before ordinary replication brings it the log.
//!
//! One file per checkpoint, named by the physical offset where the log behind it starts: a CRC-32C of
//! the rest, the length of the header, the header (bincode), then the state as the broker encoded it.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use trireme_commitlog::{LogId, is_unreadable};

use crate::codec::{self, WireStoredMembership};
use crate::types::{StoredMembership, from_raft, to_raft};

const SUFFIX: &str = "checkpoint";

/// The state at one log id; openraft's "snapshot data".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Where the first frame behind the checkpoint starts.
    pub physical_offset: u64,
    /// The state machine's bytes.
    pub state: Bytes,
}

/// A checkpoint with what Raft must know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub log_id: LogId,
    pub membership: StoredMembership,
    pub checkpoint: Checkpoint,
}

#[derive(Serialize, Deserialize)]
struct OnDisk {
    log_id: (u64, u64),
    membership: WireStoredMembership,
    physical_offset: u64,
}

/// The checkpoints of one replica.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    dir: PathBuf,
}

impl Checkpoints {
    /// Opens the directory, made if missing. Half-written files of a crash are removed.
    pub fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|suffix| suffix == "tmp") {
                fs::remove_file(path)?;
            }
        }
        Ok(Self { dir: dir.to_owned() })
    }

    /// Those of a directory that is there, to be looked at: nothing is made or removed.
    pub fn existing(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Writes a checkpoint; durable when it returns. Blocks on the disk.
    pub fn save(&self, stored: &Stored) -> io::Result<()> {
        let header = codec::encode(&OnDisk {
            log_id: (stored.log_id.term, stored.log_id.index),
            membership: (&stored.membership).into(),
            physical_offset: stored.checkpoint.physical_offset,
        });
        let header_length = u32::try_from(header.len()).expect("a header names a few members");
        let body = [&header_length.to_le_bytes(), header.as_slice(), &stored.checkpoint.state].concat();
        let path = self.path(stored.checkpoint.physical_offset);
        let temporary = path.with_extension("tmp");
        let written = fs::File::create(&temporary).and_then(|mut file| {
            file.write_all(&crc32c::crc32c(&body).to_le_bytes())?;
            file.write_all(&body)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)
        });
        if let Err(error) = written {
            // Half a file is of no use, least of all on a full disk.
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        self.sync()
    }

    /// Makes the names of all checkpoints durable. One that was just [listed](Self::list) may not have been.
    pub fn sync(&self) -> io::Result<()> {
        fs::File::open(&self.dir)?.sync_all()
    }

    /// The checkpoint whose log starts at `physical_offset`, if there is one that can be read.
    pub fn load(&self, physical_offset: u64) -> io::Result<Option<Stored>> {
        let path = self.path(physical_offset);
        let damaged = |reason: String| {
            io::Error::new(io::ErrorKind::InvalidData, format!("checkpoint {}: {reason}", path.display()))
        };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if is_unreadable(&error) => return Err(damaged("the disk cannot read it".into())),
            Err(error) => return Err(error),
        };
        let (sum, body) =
            bytes.split_at_checked(4).ok_or_else(|| damaged("shorter than its checksum".into()))?;
        if crc32c::crc32c(body).to_le_bytes() != sum {
            return Err(damaged("its checksum is wrong".into()));
        }
        let cut = || damaged("shorter than its header".into());
        let (length, rest) = body.split_first_chunk::<4>().ok_or_else(cut)?;
        let (header, state) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(cut)?;
        let found: OnDisk =
            codec::decode("checkpoint", header).map_err(|error| damaged(error.to_string()))?;
        let membership =
            StoredMembership::try_from(found.membership).map_err(|error| damaged(error.to_string()))?;
        let (term, index) = found.log_id;
        Ok(Some(Stored {
            log_id: LogId { term, index },
            membership,
            checkpoint: Checkpoint {
                physical_offset: found.physical_offset,
                state: Bytes::copy_from_slice(state),
            },
        }))
    }

    /// Physical offsets of the checkpoints that exist, ascending.
    pub fn list(&self) -> io::Result<Vec<u64>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|suffix| suffix == SUFFIX) {
                found.extend(
                    path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok()),
                );
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// The checkpoint with the highest offset.
    pub fn newest(&self) -> io::Result<Option<Stored>> {
        self.list()?.last().map_or(Ok(None), |at| self.load(*at))
    }

    /// Forgets the checkpoints before `physical_offset`.
    pub fn remove_before(&self, physical_offset: u64) -> io::Result<()> {
        for older in self.list()?.into_iter().filter(|at| *at < physical_offset) {
            fs::remove_file(self.path(older))?;
        }
        Ok(())
    }

    fn path(&self, physical_offset: u64) -> PathBuf {
        self.dir.join(format!("{physical_offset:020}.{SUFFIX}"))
    }
}

impl Stored {
    /// As openraft hands it around.
    pub fn into_snapshot(
        self,
    ) -> openraft::type_config::alias::SnapshotOf<crate::types::TypeConfig, Checkpoint> {
        openraft::storage::Snapshot {
            meta: openraft::storage::SnapshotMeta {
                last_log_id: Some(to_raft(self.log_id)),
                last_membership: self.membership,
            },
            snapshot: self.checkpoint,
        }
    }

    /// From what openraft hands over; `None` if it names no log id.
    pub fn from_snapshot(meta: &crate::types::SnapshotMeta, checkpoint: Checkpoint) -> Option<Self> {
        let log_id = from_raft(meta.last_log_id.as_ref()?);
        Some(Self { log_id, membership: meta.last_membership.clone(), checkpoint })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn stored(index: u64, physical_offset: u64) -> Stored {
        let state = Bytes::from(vec![index as u8; 100]);
        Stored {
            log_id: LogId { term: 2, index },
            membership: StoredMembership::default(),
            checkpoint: Checkpoint { physical_offset, state },
        }
    }

    #[test]
    fn what_was_saved_is_loaded_listed_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(dir.path()).unwrap();
        assert_eq!(checkpoints.newest().unwrap(), None);
        let all = [stored(5, 1 << 20), stored(9, 10 << 20), stored(7, 2 << 20)];
        all.iter().for_each(|one| checkpoints.save(one).unwrap());
        assert_eq!(checkpoints.list().unwrap(), [1 << 20, 2 << 20, 10 << 20]);
        assert_eq!(checkpoints.newest().unwrap(), Some(all[1].clone()));
        assert_eq!(checkpoints.load(2 << 20).unwrap(), Some(all[2].clone()));
        assert_eq!(checkpoints.load(3 << 20).unwrap(), None);
        checkpoints.remove_before(2 << 20).unwrap();
        assert_eq!(checkpoints.list().unwrap(), [2 << 20, 10 << 20]);
    }

    #[test]
    fn damage_is_told_and_halves_are_swept_away() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(dir.path()).unwrap();
        checkpoints.save(&stored(5, 4096)).unwrap();
        let path = checkpoints.path(4096);
        let sound = fs::read(&path).unwrap();
        for cut in 0..sound.len() {
            fs::write(&path, &sound[..cut]).unwrap();
            assert_eq!(
                checkpoints.load(4096).unwrap_err().kind(),
                io::ErrorKind::InvalidData,
                "cut at {cut}"
            );
        }
        for at in 0..sound.len() {
            let mut flipped = sound.clone();
            flipped[at] ^= 0x10;
            fs::write(&path, flipped).unwrap();
            assert!(checkpoints.load(4096).is_err(), "flipped at {at}");
        }
        fs::write(path.with_extension("tmp"), b"half").unwrap();
        Checkpoints::open(dir.path()).unwrap();
        assert!(!path.with_extension("tmp").exists());
    }
}
