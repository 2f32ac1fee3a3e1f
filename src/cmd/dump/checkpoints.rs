//! Checkpoints: the state at the start of a segment.

use std::io;
use std::path::Path;

use trireme_broker::inspect as state;
use trireme_raft::inspect;

use super::out::Out;
use super::record::{Checkpoint, Part, Record};

/// Writes every checkpoint in `path`.
pub fn dump(path: &Path, out: &mut Out<'_>) -> io::Result<()> {
    let offsets = match inspect::checkpoints(path) {
        Ok(offsets) => offsets,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return out.note(format!("there are no checkpoints in {}", path.display()));
        }
        Err(error) => return out.damage(Part::Checkpoint, path, None, error),
    };
    for at in offsets {
        match inspect::checkpoint(path, at) {
            Ok(Some(found)) => one(path, at, found, out)?,
            Ok(None) => out.note(format!("the checkpoint at {at} went away while it was looked at"))?,
            Err(error) => out.damage(Part::Checkpoint, path, None, error)?,
        }
    }
    Ok(())
}

fn one(path: &Path, at: u64, found: inspect::CheckpointFile, out: &mut Out<'_>) -> io::Result<()> {
    if found.physical_offset != at {
        let reason = format!("the checkpoint named {at} says physical offset {}", found.physical_offset);
        return out.damage(Part::Checkpoint, path, None, reason);
    }
    let decoded = match state::checkpoint(&found.state) {
        Ok(decoded) => decoded,
        Err(error) => {
            return out.damage(Part::Checkpoint, path, None, format!("the checkpoint at {at}: {error}"));
        }
    };
    out.put(&Record::Checkpoint(Checkpoint {
        physical_offset: at,
        log_id: found.log_id.into(),
        members: found.members.into(),
        state_bytes: found.state.len(),
        topics: decoded.state.topics.iter().len(),
        groups: decoded.state.groups.iter().len(),
        offsets: decoded.state.offsets.iter().count(),
        queues: decoded.queues.len(),
        messages: decoded.queues.iter().map(|(_, next)| next).sum(),
    }))
}
