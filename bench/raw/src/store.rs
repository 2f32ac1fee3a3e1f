//! A file that was written full of zeros before: writing over it changes no metadata, so a sync is only the data.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use crate::options::Options;

pub struct Store {
    file: File,
    bytes: u64,
    position: u64,
}

impl Store {
    pub fn create(options: &Options) -> io::Result<Self> {
        let path = options.data.join(&options.name);
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
        let zeros = vec![0; 1 << 20];
        let mut left = options.file;
        while left > 0 {
            let part = left.min(zeros.len() as u64);
            file.write_all(&zeros[..part as usize])?;
            left -= part;
        }
        file.sync_all()?;
        Ok(Self { file, bytes: options.file, position: 0 })
    }

    /// Writes `block`; on return it is on the disk.
    pub fn write(&mut self, block: &[u8]) -> io::Result<()> {
        if self.bytes < self.position + block.len() as u64 {
            self.position = 0;
        }
        self.file.write_all_at(block, self.position)?;
        self.position += block.len() as u64;
        self.file.sync_data()
    }
}
