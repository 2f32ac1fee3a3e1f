//! Ports for servers that have to know each other's before they start.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below where systems take the ports of outgoing connections from: one of those could be in the way when a
/// replica comes back.
const RANGE: std::ops::Range<u32> = 11_000..32_000;

/// A port of 127.0.0.1 that nobody listens on. Not given to anybody else in this process.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Test programs that run at the same time start at different places.
    let start = std::process::id().wrapping_mul(97);
    for _ in RANGE {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = RANGE.start + start.wrapping_add(step) % (RANGE.end - RANGE.start);
        let port = u16::try_from(port).expect("the range is below 65536");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port of 127.0.0.1 in {RANGE:?} is free");
}
