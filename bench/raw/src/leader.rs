//! Takes blocks from the source; writes and ships each at the same time. A block is done when it is synced here and at one
//! follower.

use std::io;
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::follower::listen;
use crate::options::Options;
use crate::store::Store;
use crate::wire;

/// Blocks that a slow follower may be behind before everyone waits for it.
const QUEUED: usize = 64;

type Block = Arc<Vec<u8>>;

/// How many blocks are synced, where.
struct Progress {
    here: u64,
    followers: Vec<u64>,
    told: u64,
    source: TcpStream,
}

impl Progress {
    /// Tells the source what is newly done.
    fn tell(&mut self) -> io::Result<()> {
        let one_follower = self.followers.iter().copied().max().unwrap_or(0);
        let done = self.here.min(one_follower);
        if self.told < done {
            self.told = done;
            wire::send_count(&self.source, done)?;
        }
        Ok(())
    }
}

pub fn lead(options: &Options) -> io::Result<()> {
    let store = Store::create(options)?;
    let followers = options.followers.iter().map(TcpStream::connect).collect::<Result<Vec<_>, _>>()?;
    let listener = listen()?;
    let (source, _) = listener.accept()?;
    source.set_nodelay(true)?;
    let progress = Arc::new(Mutex::new(Progress {
        here: 0,
        followers: vec![0; followers.len()],
        told: 0,
        source: source.try_clone()?,
    }));
    let mut outlets: Vec<SyncSender<Block>> = Vec::new();
    let (outlet, blocks) = sync_channel(QUEUED);
    outlets.push(outlet);
    let write = progress.clone();
    thread::spawn(move || end_with(write_blocks(store, &blocks, &write)));
    for (number, follower) in followers.into_iter().enumerate() {
        follower.set_nodelay(true)?;
        let (outlet, blocks) = sync_channel::<Block>(QUEUED);
        outlets.push(outlet);
        let (answers, progress) = (follower.try_clone()?, progress.clone());
        thread::spawn(move || {
            end_with(blocks.iter().try_for_each(|block| wire::send_block(&follower, &block)))
        });
        thread::spawn(move || end_with(take_answers(&answers, number, &progress)));
    }
    while let Some(block) = wire::receive_block(&source)? {
        let block = Arc::new(block);
        for outlet in &outlets {
            outlet.send(block.clone()).map_err(io::Error::other)?;
        }
    }
    Ok(())
}

fn write_blocks(mut store: Store, blocks: &Receiver<Block>, progress: &Mutex<Progress>) -> io::Result<()> {
    for block in blocks {
        store.write(&block)?;
        let mut progress = progress.lock().expect("nobody panics with it");
        progress.here += 1;
        progress.tell()?;
    }
    Ok(())
}

fn take_answers(answers: &TcpStream, number: usize, progress: &Mutex<Progress>) -> io::Result<()> {
    while let Some(done) = wire::receive_count(answers)? {
        let mut progress = progress.lock().expect("nobody panics with it");
        progress.followers[number] = done;
        progress.tell()?;
    }
    Ok(())
}

/// A measurement that has lost a part measures nothing.
fn end_with(result: io::Result<()>) {
    if let Err(error) = result {
        eprintln!("raw leader: {error}");
        std::process::exit(1);
    }
}
