//! A state machine that remembers what it was given, and checks how it was given.

use std::sync::Arc;

use parking_lot::Mutex;
use trireme_commitlog::LogId;
use trireme_raft::proposal::{Outcome, Proposal};
use trireme_raft::state_machine::{Applied, Carries, NotYet, RestoreError, StateMachine};

/// Bytes at the start of every payload: tag, then the physical offset that the append stamps.
const HEAD: usize = 16;

/// One applied proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    pub log_id: LogId,
    pub physical_offset: u64,
    pub length: u64,
    pub crc: u64,
    pub tag: u64,
}

impl Record {
    const BYTES: usize = 6 * 8;

    fn encode(&self, to: &mut Vec<u8>) {
        let LogId { term, index } = self.log_id;
        for field in [term, index, self.physical_offset, self.length, self.crc, self.tag] {
            to.extend_from_slice(&field.to_le_bytes());
        }
    }

    fn decode(bytes: &[u8]) -> Self {
        let field = |n: usize| u64::from_le_bytes(bytes[8 * n..8 * n + 8].try_into().unwrap());
        Self {
            log_id: LogId { term: field(0), index: field(1) },
            physical_offset: field(2),
            length: field(3),
            crc: field(4),
            tag: field(5),
        }
    }
}

/// What one replica has applied since it was started. Nothing is saved: a restart begins anew, from a
/// checkpoint if the log is trimmed.
#[derive(Clone, Default)]
pub struct Echo(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    records: Vec<Record>,
    last: Option<LogId>,
    restored: usize,
}

impl Echo {
    /// Everything, in the order of the log.
    pub fn records(&self) -> Vec<Record> {
        self.0.lock().records.clone()
    }

    /// How often it was restored from a checkpoint.
    pub fn restored(&self) -> usize {
        self.0.lock().restored
    }
}

impl StateMachine for Echo {
    fn saved(&self) -> Option<LogId> {
        None
    }

    fn apply(&mut self, entry: &Applied) -> Result<Outcome, NotYet> {
        let mut state = self.0.lock();
        let next = state.last.map_or(0, |last| last.index + 1);
        assert_eq!(entry.log_id.index, next, "entries come once each and in order");
        assert!(state.last.is_none_or(|last| last.term <= entry.log_id.term));
        state.last = Some(entry.log_id);
        if entry.carries == Carries::Proposal {
            let head = |at: usize| u64::from_le_bytes(entry.payload[at..at + 8].try_into().unwrap());
            assert_eq!(head(8), entry.physical_offset, "the stamp names the place of the payload");
            state.records.push(Record {
                log_id: entry.log_id,
                physical_offset: entry.physical_offset,
                length: entry.payload.len() as u64,
                crc: crc32c::crc32c(&entry.payload).into(),
                tag: head(0),
            });
        }
        Ok(Outcome { physical_offset: entry.physical_offset, refusals: Vec::new() })
    }

    fn applied(&mut self, applied: LogId) {
        assert_eq!(self.0.lock().last, Some(applied));
    }

    fn checkpoint(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.0.lock().records.iter().for_each(|record| record.encode(&mut bytes));
        bytes
    }

    fn restore(&mut self, log_id: LogId, _: u64, checkpoint: &[u8]) -> Result<(), RestoreError> {
        if !checkpoint.len().is_multiple_of(Record::BYTES) {
            return Err(RestoreError { at: log_id.to_string(), reason: "cut".into() });
        }
        let mut state = self.0.lock();
        state.records = checkpoint.chunks(Record::BYTES).map(Record::decode).collect();
        state.last = Some(log_id);
        state.restored += 1;
        Ok(())
    }
}

/// A proposal of `length` bytes (at least 16), with `tag` to know it by.
pub fn proposal(tag: u64, length: usize) -> Proposal {
    let mut frame = Proposal::frame(length.max(HEAD));
    frame.extend_from_slice(&tag.to_le_bytes());
    frame.extend_from_slice(&[0; 8]);
    let filler: Vec<u8> =
        (HEAD..length).map(|n| (tag as u8).wrapping_mul(31).wrapping_add(n as u8)).collect();
    frame.extend_from_slice(&filler);
    let stamp = |payload: &mut [u8], at: u64| payload[8..HEAD].copy_from_slice(&at.to_le_bytes());
    Proposal::new(frame, Box::new(stamp))
}
