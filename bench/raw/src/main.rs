//! What this machine could do at most: three processes that write, sync and ship the same bytes, and nothing else.
//!
//! ```text
//! source --blocks--> leader --blocks--> follower (two)
//!                    write, fdatasync   write, fdatasync
//!        <--------- synced here and at one follower ---
//! ```
//!
//! No elections, no checksums, no messages: a block is bytes. `run` is the source and starts the others.

mod follower;
mod histogram;
mod leader;
mod options;
mod source;
mod store;
mod wire;

use std::io;

use options::Options;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let role = arguments.next().unwrap_or_default();
    let options = Options::parse(arguments);
    match role.as_str() {
        "run" => source::run(&options),
        "leader" => leader::lead(&options),
        "follower" => follower::follow(&options),
        "source" => source::feed(&options, &options.leader).map(drop),
        _ => options::usage(&format!("no role {role:?}")),
    }
}
