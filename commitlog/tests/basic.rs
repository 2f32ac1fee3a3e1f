//! The log through its front door, on a real directory.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use trireme_commitlog::{CommitLog, DiskDir, FrameBuf, LogId, Options};

fn open(path: &std::path::Path) -> CommitLog {
    CommitLog::open(Arc::new(DiskDir::open(path).unwrap()), Options { segment_bytes: 64 << 10 }).unwrap()
}

fn frame(payload: &[u8]) -> FrameBuf {
    let mut frame = FrameBuf::new(1);
    frame.extend_from_slice(payload);
    frame
}

/// What was appended and flushed is there after a restart, over several segments.
#[test]
fn survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    for index in 0..500 {
        log.append(LogId { term: 1, index }, frame(&vec![index as u8; 1000]), |payload, offset| {
            payload[..8].copy_from_slice(&offset.to_le_bytes());
        })
        .unwrap();
        if log.maintenance_due() {
            log.maintain().unwrap();
        }
    }
    assert_eq!(log.flush().unwrap(), Some(LogId { term: 1, index: 499 }));
    let before = log.segments();
    assert!(before.len() > 5);
    drop(log);
    let log = open(dir.path());
    assert_eq!(log.segments(), before);
    let frames = log.read(0, 1000, u64::MAX).unwrap();
    assert_eq!(frames.len(), 500);
    for frame in frames {
        assert_eq!(frame.payload()[..8], frame.payload_physical_offset().to_le_bytes());
        assert_eq!(frame.payload()[8..], vec![frame.id.index as u8; 992]);
        assert_eq!(log.index_at(frame.physical_offset + 41).unwrap(), Some(frame.id.index));
    }
}
