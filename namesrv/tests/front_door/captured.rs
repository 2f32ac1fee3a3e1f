//! Registrations in the bytes of the Java releases, as the remoting crate's tests keep them.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use trireme_remoting::headers::RegisterBrokerRequest;
use trireme_remoting::{Frame, FrameDecoder, response};

use crate::peer::{Peer, start};

const RELEASES: [(&str, &str); 2] = [
    ("4.9.8", include_str!("../../../remoting/tests/data/java-4.9.8.txt")),
    ("5.3.3", include_str!("../../../remoting/tests/data/java-5.3.3.txt")),
];

/// The bodies, and what the header says of them. The last is what brokers of 5.3 with `compressedRegister` send,
/// though their own name server cannot read it.
const BODIES: [(&str, bool); 3] =
    [("body_register_plain", false), ("body_register_compressed", true), ("body_register_compressed", false)];

fn capture(text: &str) -> BTreeMap<&str, Bytes> {
    let byte = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
    let line = |line| {
        let (name, hex): (&str, &str) = str::split_once(line, ' ').unwrap();
        (name, hex.trim().as_bytes().chunks(2).map(byte).collect())
    };
    text.lines().map(line).collect()
}

/// Each body in each notation of the header; the capture's checksum is of another body, so it must be refused
/// until it is corrected.
#[tokio::test]
async fn java_brokers_register() {
    for (release, text) in RELEASES {
        let capture = capture(text);
        for header in ["frame_register_broker_json", "frame_register_broker_rocketmq"] {
            for (body, compressed) in BODIES {
                let mut frame = decode(&capture[header]).with_body(capture[body].clone());
                frame.ext.set("compressed", compressed);
                let registered = RegisterBrokerRequest::from_ext(&frame.ext).unwrap();
                let (name, address) = (registered.broker_name.to_owned(), registered.broker_addr.to_owned());
                let id = registered.broker_id;

                let server = start();
                let peer = Peer::of(&server);
                peer.refused(response::SYSTEM_ERROR, frame.clone()).await;
                frame.ext.set("bodyCrc32", crc32fast::hash(&capture[body]) & 0x7fff_ffff);
                peer.done(frame).await;
                assert_eq!(
                    peer.listed().await,
                    format!("{name}{{{id}={address}}}"),
                    "{release} {header} {body}"
                );
                let route = peer.route("TopicTest").await.expect("the captured body has this topic");
                assert_eq!(route.queue_datas[0].broker_name, name);
                server.shutdown().await;
            }
        }
    }
}

fn decode(bytes: &[u8]) -> Frame {
    let mut buffer = BytesMut::from(bytes);
    FrameDecoder::default().decode(&mut buffer).unwrap().unwrap()
}
