//! Frames in both notations, and the typed headers over their fields.
//!
//! What decodes has to encode to something that decodes to the same, and must not decode from any cut of it.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use trireme_remoting::headers::{PullRequest, RegisterBrokerRequest, SendHeader};
use trireme_remoting::{FrameDecoder, FrameError};

fuzz_target!(|bytes: &[u8]| {
    let decoder = FrameDecoder::default();
    let mut buffer = BytesMut::from(bytes);
    while let Ok(Some(frame)) = decoder.decode(&mut buffer) {
        if let Ok(header) = SendHeader::from_ext(&frame.ext) {
            assert_eq!(SendHeader::from_ext(&header.to_ext_v1()).as_ref(), Ok(&header));
            assert_eq!(SendHeader::from_ext(&header.to_ext_v2()).as_ref(), Ok(&header));
        }
        if let Ok(header) = PullRequest::from_ext(&frame.ext) {
            assert_eq!(PullRequest::from_ext(&header.to_ext()).as_ref(), Ok(&header));
        }
        if let Ok(header) = RegisterBrokerRequest::from_ext(&frame.ext) {
            assert_eq!(RegisterBrokerRequest::from_ext(&header.to_ext()).as_ref(), Ok(&header));
        }
        let encoded = frame.to_bytes().expect("a decoded frame is of a size that can be encoded");
        match decoder.decode(&mut BytesMut::from(&encoded[..])) {
            Ok(again) => assert_eq!(again, Some(frame)),
            // Control characters take one byte raw and six escaped.
            Err(error) => assert!(matches!(error, FrameError::HeaderTooLarge { .. }), "{error}"),
        }
        let cut = &encoded[..encoded.len() - 1];
        assert!(matches!(
            decoder.decode(&mut BytesMut::from(cut)),
            Ok(None) | Err(FrameError::HeaderTooLarge { .. })
        ));
        assert!(decoder.missing(&buffer) <= decoder.max_frame);
    }
});
