//! Entries of a broker group's log, as the applier reads them.
//!
//! Behind a trailer that fits, so that the parts are reached: the first bytes say how long they are.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use trireme_broker::entry::{Entry, Keys};

fn read(payload: &Bytes) {
    let Ok(entry) = Entry::parse(payload) else { return };
    let mut end = 0;
    for stored in entry.stored() {
        let Ok(stored) = stored else { return };
        assert_eq!(stored.at, end, "messages lie back to back");
        end += stored.bytes;
        assert!(end as usize <= entry.messages.len(), "a message lies within its entry");
    }
    for keyed in entry.keyed() {
        let Ok((_, keys)) = keyed else { return };
        if let Keys::Hashes(hashes) = keys {
            hashes.for_each(drop);
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    read(&Bytes::copy_from_slice(bytes));

    let [rows, commands, hashes, rest @ ..] = bytes else { return };
    let (rows, commands, hashes) = (u32::from(*rows % 8), u32::from(*commands), u32::from(*hashes % 8));
    for (row_bytes, hashes) in [(16, None), (20, Some(hashes))] {
        let parts = rows * row_bytes + commands + 8 * hashes.unwrap_or(0);
        let Some(messages) = (rest.len() as u32).checked_sub(parts) else { return };
        let mut payload = rest.to_vec();
        let layout = if hashes.is_some() { 2 } else { 1 };
        for word in [Some(messages), Some(commands), hashes, Some(rows), Some(layout)].into_iter().flatten() {
            payload.extend_from_slice(&word.to_le_bytes());
        }
        read(&Bytes::from(payload));
    }
});
