//! Stored messages back to back.
//!
//! What is read has to be encoded to something that is read as the same; stamps must change only their field.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trireme_remoting::message::{
    OffsetMsgId, StoredMessage, StoredMessageFields, StoredMessages, patch_physical_offset,
    patch_queue_offset, patch_store_timestamp,
};

fuzz_target!(|bytes: &[u8]| {
    for message in StoredMessages::new(bytes).map_while(Result::ok) {
        let fields = StoredMessageFields::from(message);
        let mut encoded = Vec::new();
        let len = fields.encode_into(&mut encoded).expect("a message that was read can be written");
        assert_eq!(len, encoded.len());
        let again = StoredMessage::parse(&encoded).expect("a message that was written can be read");
        assert_eq!(StoredMessageFields::from(again), fields);

        patch_queue_offset(&mut encoded, 1);
        patch_physical_offset(&mut encoded, 2);
        patch_store_timestamp(&mut encoded, 3);
        let stamped = StoredMessage::parse(&encoded).expect("stamps keep a message whole");
        let expect =
            StoredMessageFields { queue_offset: 1, physical_offset: 2, store_timestamp: 3, ..fields };
        assert_eq!(StoredMessageFields::from(stamped), expect);

        let id = OffsetMsgId { store_host: message.store_host, physical_offset: message.physical_offset };
        assert_eq!(id.to_string().parse(), Ok(id));
    }
    if let Ok(Ok(id)) = std::str::from_utf8(bytes).map(str::parse::<OffsetMsgId>) {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
});
