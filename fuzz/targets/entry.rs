//! Entries of a broker group's log, as the applier reads them.
//!
//! Behind a trailer that fits, so that the parts are reached: the first bytes say how long they are.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use trireme_broker::entry::Entry;

fn read(payload: &Bytes) {
    let Ok(entry) = Entry::parse(payload) else { return };
    let mut end = 0;
    for stored in entry.stored() {
        let Ok(stored) = stored else { return };
        assert_eq!(stored.at, end, "messages lie back to back");
        end += stored.bytes;
        assert!(end as usize <= entry.messages.len(), "a message lies within its entry");
    }
}

fuzz_target!(|bytes: &[u8]| {
    read(&Bytes::copy_from_slice(bytes));

    let [rows, commands, rest @ ..] = bytes else { return };
    let (rows, commands) = (u32::from(*rows % 8), u32::from(*commands));
    let Some(messages) = (rest.len() as u32).checked_sub(rows * 16 + commands) else { return };
    let mut payload = rest.to_vec();
    for word in [messages, commands, rows, 1] {
        payload.extend_from_slice(&word.to_le_bytes());
    }
    read(&Bytes::from(payload));
});
