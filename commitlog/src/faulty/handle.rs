//! The disk as one process holds it: every call first asks whether that process still runs.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use rustix::io::Errno;

use super::file::{self, FileData};
use super::{Failure, FileId, Op, World};
use crate::dir::{LogDir, SegmentIo};

/// One process's view of the disk.
#[derive(Debug)]
pub(super) struct Handle {
    process: u64,
    world: Arc<Mutex<World>>,
}

impl Handle {
    pub fn new(process: u64, world: Arc<Mutex<World>>) -> Handle {
        Handle { process, world }
    }

    fn on<T>(&self, act: impl FnOnce(&mut World) -> io::Result<T>) -> io::Result<T> {
        on(&self.world, self.process, act)
    }

    fn segment(&self, id: FileId) -> Arc<dyn SegmentIo> {
        Arc::new(Segment { process: self.process, world: Arc::clone(&self.world), id })
    }
}

fn on<T>(world: &Mutex<World>, process: u64, act: impl FnOnce(&mut World) -> io::Result<T>) -> io::Result<T> {
    let mut world = world.lock();
    if world.process != process {
        return Err(io::Error::other("the process that held this handle has ended"));
    }
    act(&mut world)
}

fn fail(failure: Option<Failure>) -> io::Result<()> {
    match failure {
        Some(failure) => Err(failure.error.into()),
        None => Ok(()),
    }
}

impl LogDir for Handle {
    fn list(&self) -> io::Result<Vec<String>> {
        self.on(|world| Ok(world.names.keys().cloned().collect()))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn SegmentIo>> {
        let id = self.on(|world| {
            fail(world.failure(Op::Create))?;
            if world.names.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let id = world.next_file;
            world.next_file += 1;
            world.files.insert(id, FileData::default());
            world.names.insert(name.to_owned(), id);
            Ok(id)
        })?;
        Ok(self.segment(id))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn SegmentIo>> {
        let id =
            self.on(|world| world.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into()))?;
        Ok(self.segment(id))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.on(|world| {
            fail(world.failure(Op::Remove))?;
            world.names.remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
        })
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.on(|world| {
            world.counters.dir_syncs += 1;
            fail(world.failure(Op::SyncDir))?;
            world.durable_names = world.names.clone();
            Ok(())
        })
    }

    fn path_of(&self, name: &str) -> String {
        name.to_owned()
    }
}

/// One file, as one process holds it.
#[derive(Debug)]
struct Segment {
    process: u64,
    world: Arc<Mutex<World>>,
    id: FileId,
}

impl Segment {
    fn on<T>(&self, act: impl FnOnce(&mut World) -> io::Result<T>) -> io::Result<T> {
        on(&self.world, self.process, act)
    }

    fn on_file<T>(&self, act: impl FnOnce(&mut FileData) -> io::Result<T>) -> io::Result<T> {
        self.on(|world| act(world.files.get_mut(&self.id).expect("files live as long as their process")))
    }

    /// Allocates up to `end`, or as much of it as fits. Returns how far the file is allocated now.
    fn allocate(&self, end: u64) -> io::Result<u64> {
        self.on(|world| {
            let room = world.room();
            let file = world.files.get_mut(&self.id).expect("files live as long as their process");
            let more = end.next_multiple_of(file::PAGE).saturating_sub(file.allocated);
            file.allocated += more.min(room / file::PAGE * file::PAGE);
            Ok(file.allocated)
        })
    }
}

impl SegmentIo for Segment {
    fn len(&self) -> io::Result<u64> {
        self.on_file(|file| Ok(file.len))
    }

    fn write_at(&self, pos: u64, bytes: &[u8]) -> io::Result<()> {
        let failure = self.on(|world| {
            world.counters.writes += 1;
            world.counters.bytes_written += bytes.len() as u64;
            Ok(world.failure(Op::Write))
        })?;
        if let Some(Failure { written, .. }) = failure {
            let written = written.min(bytes.len());
            self.on_file(|file| {
                file.write(pos, &bytes[..written]);
                Ok(())
            })?;
            return fail(failure);
        }
        if !self.on_file(|file| Ok(file.heal(pos, bytes.len() as u64)))? {
            return Err(Errno::IO.into());
        }
        let fits = self.allocate(pos + bytes.len() as u64)?.saturating_sub(pos).min(bytes.len() as u64);
        self.on_file(|file| {
            file.write(pos, &bytes[..fits as usize]);
            if fits < bytes.len() as u64 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        })
    }

    fn read_at(&self, pos: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.on(|world| {
            let len = world.files[&self.id].len.saturating_sub(pos).min(buf.len() as u64) as usize;
            world.counters.reads += 1;
            world.counters.bytes_read += len as u64;
            fail(world.failure(Op::Read))?;
            if world.files[&self.id].is_spoilt(pos, len as u64) {
                return Err(Errno::IO.into());
            }
            world.files[&self.id].read(pos, &mut buf[..len]);
            Ok(len)
        })
    }

    fn slice(&self, pos: u64, len: u64) -> io::Result<Bytes> {
        if self.len()? < pos.saturating_add(len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; len as usize];
        self.read_at(pos, &mut bytes)?;
        Ok(bytes.into())
    }

    /// All of it is in memory; it only shows whether it could be read.
    fn load(&self, pos: u64, len: u64) -> io::Result<()> {
        self.on(|world| {
            fail(world.failure(Op::Read))?;
            let is_spoilt = world.files[&self.id].is_spoilt(pos, len);
            if is_spoilt { Err(Errno::IO.into()) } else { Ok(()) }
        })
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        self.on(|world| fail(world.failure(Op::Preallocate)))?;
        if self.allocate(len)? < len {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.on_file(|file| {
            file.len = file.len.max(len);
            Ok(())
        })
    }

    fn zero_range(&self, pos: u64, len: u64) -> io::Result<()> {
        self.on(|world| fail(world.failure(Op::Zero)))?;
        self.on_file(|file| {
            file.zero(pos, len);
            Ok(())
        })
    }

    fn prewrite(&self, pos: u64, len: u64) -> io::Result<()> {
        self.write_at(pos, &vec![0; len as usize])
    }

    fn sync_prewritten(&self) -> io::Result<()> {
        let synced = self.sync();
        if let Err(error) = &synced {
            self.on_file(|file| {
                file.untold = Some(error.kind());
                Ok(())
            })?;
        }
        synced
    }

    fn next_data(&self, pos: u64) -> io::Result<Option<u64>> {
        self.on_file(|file| Ok(file.next_data(pos)))
    }

    fn sync(&self) -> io::Result<()> {
        let failure = self.on(|world| {
            world.counters.syncs += 1;
            Ok(world.failure(Op::Sync))
        })?;
        self.on_file(|file| {
            match failure {
                None => file.sync(),
                // The crash decides what was written before the power went.
                Some(failure) if failure.power => {}
                Some(_) => file.lose_dirty(),
            }
            file.untold.take().map_or(Ok(()), |error| Err(error.into()))
        })?;
        fail(failure)
    }

    fn release(&self) {}
}
