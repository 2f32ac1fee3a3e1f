//! Blocks and acknowledgements on a connection: a length and the bytes; a number.

use std::io::{self, Read, Write};
use std::net::TcpStream;

pub fn send_block(mut stream: &TcpStream, block: &[u8]) -> io::Result<()> {
    // One write: with the delay of Nagle's algorithm off, a length alone would be a packet.
    let mut frame = Vec::with_capacity(4 + block.len());
    frame.extend((block.len() as u32).to_be_bytes());
    frame.extend(block);
    stream.write_all(&frame)
}

/// The next block, or `None` at the connection's end.
pub fn receive_block(mut stream: &TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut block = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut block)?;
    Ok(Some(block))
}

/// Says how many blocks are done, counted from the first.
pub fn send_count(mut stream: &TcpStream, done: u64) -> io::Result<()> {
    stream.write_all(&done.to_be_bytes())
}

pub fn receive_count(mut stream: &TcpStream) -> io::Result<Option<u64>> {
    let mut count = [0; 8];
    match stream.read_exact(&mut count) {
        Ok(()) => Ok(Some(u64::from_be_bytes(count))),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}
