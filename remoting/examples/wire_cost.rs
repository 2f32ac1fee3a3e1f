//! What the wire costs per message: `cargo run --release -p trireme-remoting --example wire_cost [STEP [ROUNDS]]`; `list` names the steps.
//!
//! Without arguments each step runs for a while and its time is printed. Time varies with the machine and with what
//! else it does; `bench/instructions` counts the instructions of the same steps, which does not.

use std::hint::black_box;
use std::time::Instant;

use bytes::BytesMut;
use trireme_remoting::headers::{SendHeader, SendResponse};
use trireme_remoting::{Frame, FrameDecoder, SerializeType};

const STEPS: [&str; 6] = [
    "decode-send-json",
    "decode-send-binary",
    "read-send-header",
    "encode-response-json",
    "encode-response-binary",
    "decode-response-json",
];
const ROUNDS: u32 = 200_000;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let step = arguments.next();
    if step.as_deref() == Some("list") {
        return STEPS.iter().for_each(|step| println!("{step}"));
    }
    let rounds = arguments.next().map_or(ROUNDS, |rounds| rounds.parse().expect("rounds are a number"));
    for name in STEPS.iter().filter(|name| step.as_deref().is_none_or(|step| step == **name)) {
        let since = Instant::now();
        run(name, rounds);
        println!("{name:24} {:7.0} ns", since.elapsed().as_nanos() as f64 / f64::from(rounds));
    }
}

fn run(step: &str, rounds: u32) {
    match step {
        "decode-send-json" => decode(&vector("frame_send_v2_json"), rounds),
        "decode-send-binary" => decode(&vector("frame_send_v2_rocketmq"), rounds),
        "decode-response-json" => decode(&vector("frame_send_response_json"), rounds),
        "read-send-header" => {
            let mut bytes = BytesMut::from(vector("frame_send_v2_json").as_slice());
            let frame = FrameDecoder::default().decode(&mut bytes).expect("captured").expect("whole");
            for _ in 0..rounds {
                black_box(SendHeader::from_ext(black_box(&frame.ext)).expect("captured"));
            }
        }
        "encode-response-json" => encode(SerializeType::Json, rounds),
        "encode-response-binary" => encode(SerializeType::RocketMq, rounds),
        other => panic!("there is no step {other}, only {STEPS:?}"),
    }
}

fn decode(bytes: &[u8], rounds: u32) {
    let mut buffer = BytesMut::with_capacity(bytes.len());
    for _ in 0..rounds {
        buffer.extend_from_slice(bytes);
        black_box(FrameDecoder::default().decode(&mut buffer).expect("captured").expect("whole"));
        buffer.clear();
    }
}

/// What a broker does for each message that it has stored.
fn encode(serialize: SerializeType, rounds: u32) {
    let mut out = Vec::with_capacity(512);
    let mut frame = Frame::response(0);
    frame.serialize = serialize;
    for round in 0..rounds {
        let header = SendResponse {
            msg_id: "7F00000100002A9F0000000012345678",
            queue_id: 3,
            queue_offset: i64::from(round),
            transaction_id: None,
            batch_uniq_id: None,
            recall_handle: None,
            region: Some("DefaultRegion"),
            trace_on: Some(true),
        };
        frame.encode_header_with(&header, &mut out, 1 << 20).expect("small");
        black_box(&out);
        out.clear();
    }
}

/// Bytes captured from the Java client.
fn vector(name: &str) -> Vec<u8> {
    let all = include_str!("../tests/data/java-5.3.3.txt");
    let hex = all.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).expect("captured");
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
}
