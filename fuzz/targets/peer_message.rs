//! What another replica sends, or whoever connects to the peer port.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| trireme_raft::fuzzing::peer_bytes(bytes));
