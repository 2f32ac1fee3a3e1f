//! Segments of checksummed frames on disk: append, read, flush, truncate, trim, recover.
//!
//! The log that Trireme's replicas share. It knows bytes, terms and indexes; not Raft, and not messages. `FORMAT.md`
//! beside this crate's manifest is the design: the bytes on disk, and what a crash at each point leaves.
//!
//! ```text
//!      FrameBuf                     FrameRef, Bytes
//!         | append                      ^ read, slice
//!         v                             |
//!   +------------------- CommitLog -----------------+    +------ recover ------+
//!   | sealed segments ... | active segment | spare  | <--| the table of        |
//!   +------------------------------------------------+    | FORMAT.md           |
//!         | positioned writes, sync     ^ maps           +---------------------+
//!         v                             |                     | read_at
//!   +--------------- LogDir, SegmentIo -----------------------v----+
//!   | DiskDir: a real directory     | FaultyDisk: in memory        |
//!   +--------------------------------------------------------------+
//! ```

mod dir;
mod disk;
mod error;
pub mod faulty;
pub mod frame;
mod index;
pub mod inspect;
mod log;
mod mark;
mod mmap;
mod recover;
mod scan;
mod segment;

pub use dir::{LogDir, SegmentIo};
pub use disk::DiskDir;
pub use error::{
    AppendError, Corruption, EditError, Fault, MaintainError, OpenError, ReadError, RepairError,
    is_unreadable,
};
pub use frame::{FrameBuf, LogId};
pub use log::{CommitLog, FrameRef, Options, SegmentInfo};
