//! Frames of the commit log, as recovery and a peer's bytes are read.
//!
//! Whatever decodes must be exactly what its own fields encode to; any payload must survive being framed.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use trireme_commitlog::{FrameBuf, FrameRef, LogId, frame};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(view) = frame::decode(bytes)
        && view.header.kind != frame::FILLER
    {
        let mut again = FrameBuf::with_capacity(view.header.kind, view.payload.len());
        again.extend_from_slice(view.payload);
        let encoded = again.finish(view.header.id, view.header.physical_offset);
        assert_eq!(encoded, &bytes[..encoded.len()]);
    }

    let mut rest = Bytes::copy_from_slice(bytes);
    while let Ok(taken) = FrameRef::take(&mut rest) {
        assert!(!taken.frame.is_empty(), "taking a frame makes progress");
    }

    let [kind, term, index, payload @ ..] = bytes else { return };
    let id = LogId { term: u64::from(*term), index: u64::from(*index) };
    let mut framed = FrameBuf::new((*kind).max(1));
    framed.extend_from_slice(payload);
    let mut whole = Bytes::copy_from_slice(framed.finish(id, 4096));
    let taken = FrameRef::take(&mut whole).expect("a frame that was made can be read");
    assert_eq!((taken.id, taken.payload().as_ref(), taken.physical_offset), (id, payload, 4096));
    assert!(whole.is_empty());
});
