//! Units that were damaged in their files, written again.

use trireme_commitlog::is_unreadable;

use super::ConsumeQueues;
use super::open_files::ChunkKey;
use super::unit::{QueueId, Unit};
use crate::queues::{Error, disk};

impl ConsumeQueues {
    /// Writes units again that are in files, from queue offset `from` on. Whoever reads them from now on has them; a crash
    /// may bring the damage back, to be found again.
    ///
    /// The caller has them from the commit log. What is trimmed, cut or removed by now, or in memory only, is left alone.
    /// How many were written. Errors: `Io`.
    pub fn mend(&self, q: QueueId, from: u64, units: &[Unit]) -> Result<usize, Error> {
        let Some(queue) = self.queue(q) else { return Ok(0) };
        // Nobody else writes, or takes files away.
        let _io = queue.io.lock();
        let (spilled, incarnation) = {
            let state = queue.state.lock();
            if state.removed
                || from < state.min
                || from / self.shared.options.units_per_chunk < state.first_chunk
            {
                return Ok(0);
            }
            (state.spilled, state.incarnation)
        };
        let there = spilled.saturating_sub(from).min(units.len() as u64) as usize;
        let units = &units[..there];
        match self.write_units(&queue, incarnation, from, units) {
            Err(Error::Io { source, path, .. }) if is_unreadable(&source) => {
                // A part of a page that the disk cannot read cannot be written. In a new file there are no such pages; what
                // the old one held besides is missing from it, and made again when somebody reads it.
                tracing::warn!(%source, path = %path.display(), "a file of a ConsumeQueue cannot be written; it begins anew");
                let chunk = self.shared.chunk_of(from);
                let last = self.shared.chunk_of(from + (there as u64).saturating_sub(1));
                for chunk in chunk..=last {
                    self.shared.files.remove(ChunkKey { incarnation, chunk });
                    disk::remove_file(&self.shared.chunk_path(q, chunk))?;
                }
                self.write_units(&queue, incarnation, from, units)?;
            }
            written => written?,
        }
        Ok(there)
    }
}
