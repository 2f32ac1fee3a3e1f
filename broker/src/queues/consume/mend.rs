//! Units that were damaged in their files, written again.

use super::ConsumeQueues;
use super::unit::{QueueId, Unit};
use crate::queues::Error;

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
        self.write_units(&queue, incarnation, from, &units[..there])?;
        Ok(there)
    }
}
