//! What to do when an entry cannot be read back as it was written.

use std::ops::Range;

use futures_util::future::BoxFuture;

/// Mends the log from other replicas' copies.
///
/// Entries that are committed are the same on all replicas, byte for byte and at the same place. Where one is damaged here,
/// another replica's copy is written in its place. What is not committed may be another entry elsewhere, and is left alone.
pub trait Mend: Send + Sync + 'static {
    /// Writes again, durably, what is damaged at these physical offsets, of entries up to the index `committed`. How many
    /// frames that were.
    ///
    /// Errors, in words: nobody has them, or can be asked just now. Frames before may have been mended.
    fn mend(&self, damaged: Range<u64>, committed: u64) -> BoxFuture<'_, Result<u64, String>>;
}
