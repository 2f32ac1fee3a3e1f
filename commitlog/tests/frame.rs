//! The frame's bytes: the golden ones of `FORMAT.md`, and what is not a frame.

#![allow(clippy::unwrap_used)]

mod support;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use support::*;
use trireme_commitlog::frame::{self, FrameError, HEADER_LEN, Header, decode};
use trireme_commitlog::{FrameBuf, LogId};

/// `FORMAT.md` names these bytes. A change of them is a change of the format.
#[rustfmt::skip]
const GOLDEN: [u8; 48] = [
    b'T', b'R', b'M', b'F', 1, 1, 0, 0,  5, 0, 0, 0, 0x72, 0x53, 0xba, 0x54, // magic, version, kind, length, checksum
    2, 0, 0, 0, 0, 0, 0, 0,              3, 0, 0, 0, 0, 0, 0, 0,             // term, index
    0, 0x10, 0, 0, 0, 0, 0, 0,           b'h', b'e', b'l', b'l', b'o', 0, 0, 0, // physical offset, payload, padding
];

fn golden() -> FrameBuf {
    let mut frame = FrameBuf::new(1);
    frame.extend_from_slice(b"hello");
    frame
}

#[test]
fn golden_bytes() {
    let mut frame = golden();
    assert_eq!(frame.frame_len(), 48);
    assert_eq!(frame.finish(id(2, 3), 4096), GOLDEN, "{:02x?}", golden().finish(id(2, 3), 4096));
    let view = decode(&GOLDEN).unwrap();
    assert_eq!(view.payload, b"hello");
    let header = view.header;
    assert_eq!((header.kind, header.length, header.id, header.physical_offset), (1, 5, id(2, 3), 4096));
    assert_eq!(header.encode(), GOLDEN[..HEADER_LEN]);
    assert_eq!(Header::parse(&GOLDEN).unwrap(), header);
}

/// The mark and the sidecar, likewise.
#[test]
fn golden_files() {
    let disk = trireme_commitlog::faulty::FaultyDisk::new();
    let log = open(&disk);
    fill(&log, 17, 4000);
    log.trim(id(1, 2)).unwrap();
    log.maintain().unwrap();
    let slot = disk.contents("mark")[..80].to_vec();
    let words: Vec<u64> =
        slot[16..].chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
    assert_eq!(&slot[..8], b"TRMK\x01\x03\0\0");
    assert_eq!(words, [6, SEGMENT, 1, 2, 3 * 4040, 1, 16, SEGMENT + 4040]);
    let sidecar = disk.contents(&sidecar_name(0));
    assert_eq!(sidecar.len(), 40 + 16 * 4);
    assert_eq!(&sidecar[..8], b"TRIX\x01\0\0\0");
    assert_eq!(sidecar[12..16], (16u32 * 4040 / 8).to_le_bytes());
    assert_eq!(sidecar[16..40], [0u64.to_le_bytes(), 0u64.to_le_bytes(), 16u64.to_le_bytes()].concat());
    assert_eq!(sidecar[44..48], (4040u32 / 8).to_le_bytes());
}

/// Whatever is cut off or flipped, it is no longer that frame.
#[test]
fn every_cut_and_flip() {
    for len in 0..GOLDEN.len() {
        let error = decode(&GOLDEN[..len]).unwrap_err();
        let need = if len < HEADER_LEN { HEADER_LEN } else { GOLDEN.len() };
        assert_eq!(error, FrameError::Truncated { have: len as u64, need: need as u64 });
    }
    for bit in 0..GOLDEN.len() * 8 {
        let mut bytes = GOLDEN;
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&bytes).is_err(), "bit {bit}");
    }
    let named = |at: usize, byte: u8| {
        let mut bytes = GOLDEN;
        bytes[at] = byte;
        decode(&bytes).unwrap_err()
    };
    assert!(matches!(named(0, 0), FrameError::Magic { .. }));
    assert_eq!(named(4, 2), FrameError::Version { found: 2 });
    assert_eq!(named(7, 1), FrameError::Reserved { found: 0x100 });
    assert!(matches!(named(11, 0xff), FrameError::Truncated { .. }));
    assert!(matches!(named(5, 9), FrameError::Checksum { .. }));
    assert_eq!(named(47, 1), FrameError::Padding);
}

/// What follows a frame is the caller's business.
#[test]
fn trailing_bytes() {
    let bytes = [&GOLDEN[..], b"and more"].concat();
    assert_eq!(decode(&bytes).unwrap(), decode(&GOLDEN).unwrap());
}

/// Any payload comes back, and takes the bytes that it says.
#[test]
fn round_trip() {
    let mut rng = StdRng::seed_from_u64(1);
    for len in (0..100).chain([4095, 4096, 65_537]) {
        let payload: Vec<u8> = (0..len).map(|_| rng.random()).collect();
        let (kind, id, at) =
            (rng.random_range(1..=255), LogId { term: rng.random(), index: rng.random() }, rng.random());
        let mut frame = FrameBuf::with_capacity(kind, len);
        frame.writer().extend_from_slice(&payload);
        assert_eq!((frame.len(), frame.is_empty(), frame.kind()), (len, len == 0, kind));
        assert_eq!(frame.payload(), payload);
        let takes = frame.frame_len();
        assert_eq!(takes, frame::frame_len(len as u64));
        let bytes = frame.finish(id, at);
        assert_eq!((bytes.len() as u64, bytes.len() % 8), (takes, 0));
        let view = decode(bytes).unwrap();
        assert_eq!(view.payload, payload);
        assert_eq!((view.header.kind, view.header.id, view.header.physical_offset), (kind, id, at));
    }
}

/// Noise is refused, whatever it claims to be long.
#[test]
fn noise() {
    let mut rng = StdRng::seed_from_u64(2);
    for _ in 0..20_000 {
        let mut bytes: Vec<u8> = (0..rng.random_range(0..200)).map(|_| rng.random()).collect();
        for (byte, golden) in bytes.iter_mut().zip(&GOLDEN[..rng.random_range(0..40)]) {
            *byte = *golden;
        }
        assert!(decode(&bytes).is_err());
    }
}

#[test]
#[should_panic(expected = "reserved for fillers")]
fn the_fillers_kind_is_the_logs_own() {
    FrameBuf::new(frame::FILLER);
}
