//! Batch bodies: what is read has to be written to the same bytes, but for the two fields that nobody reads.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trireme_remoting::message::{BatchItem, BatchItems};

fuzz_target!(|bytes: &[u8]| {
    let items: Vec<BatchItem<'_>> = BatchItems::new(bytes).map_while(Result::ok).collect();
    let mut encoded = Vec::new();
    for item in &items {
        item.encode_into(&mut encoded).expect("an item that was read can be written");
    }
    assert!(encoded.len() <= bytes.len());
    assert_eq!(BatchItems::new(&encoded).collect::<Result<Vec<_>, _>>().as_deref(), Ok(&items[..]));
});
