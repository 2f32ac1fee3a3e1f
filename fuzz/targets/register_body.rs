//! Compressed registrations.
//!
//! The input is read as it is, and also as what comes out of the zlib stream: a fuzzer finds no checksums.
#![no_main]

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use libfuzzer_sys::fuzz_target;
use trireme_remoting::body::RegisterBrokerBody;
use trireme_remoting::version::{V4_9_8, V5_3_3};

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    let mut stream = ZlibEncoder::new(Vec::new(), Compression::none());
    stream.write_all(bytes).expect("writing to memory cannot fail");
    check(&stream.finish().expect("writing to memory cannot fail"));
});

fn check(bytes: &[u8]) {
    for version in [V4_9_8, V5_3_3] {
        let Ok(body) = RegisterBrokerBody::decode_compressed(bytes, version) else { continue };
        // The first writing drops nulls and, for 4.9, what it does not know; nothing is lost after that.
        let decode =
            |bytes: &[u8]| RegisterBrokerBody::decode_compressed(bytes, version).expect("we wrote it");
        let written = decode(&body.encode_compressed(version));
        assert_eq!(decode(&written.encode_compressed(version)), written);
    }
}
