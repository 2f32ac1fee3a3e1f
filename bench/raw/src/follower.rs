//! Writes, syncs and acknowledges one block after the other. The next ones wait in the connection's buffers meanwhile.

use std::io::{self, Read};
use std::net::TcpListener;

use crate::options::Options;
use crate::store::Store;
use crate::wire;

pub fn follow(options: &Options) -> io::Result<()> {
    let mut store = Store::create(options)?;
    let listener = listen()?;
    let (leader, _) = listener.accept()?;
    leader.set_nodelay(true)?;
    let mut done = 0;
    while let Some(block) = wire::receive_block(&leader)? {
        store.write(&block)?;
        done += 1;
        wire::send_count(&leader, done)?;
    }
    Ok(())
}

/// Listens on a free port and tells it on standard output. The process ends when its standard input does: with its parent,
/// however that ends.
pub fn listen() -> io::Result<TcpListener> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    std::thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    Ok(listener)
}
