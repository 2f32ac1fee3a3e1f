//! Bits of a message's `sysFlag`.

/// The body is compressed; by what is in [`COMPRESSION_MASK`].
pub const COMPRESSED: i32 = 0x1;
/// TAGS holds several tags.
pub const MULTI_TAGS: i32 = 0x2;
/// A half message of a transaction.
pub const TRANSACTION_PREPARED: i32 = 0x4;
/// A message that a commit made.
pub const TRANSACTION_COMMIT: i32 = 0x8;
/// A message that was rolled back.
pub const TRANSACTION_ROLLBACK: i32 = 0xc;
/// The transaction bits; none of them: not transactional.
pub const TRANSACTION_MASK: i32 = 0xc;
/// `bornHost` is an IPv6 address.
pub const BORN_HOST_V6: i32 = 0x10;
/// `storeHost` is an IPv6 address.
pub const STORE_HOST_V6: i32 = 0x20;
/// A batch stored as one unit that readers have to unwrap.
pub const NEED_UNWRAP: i32 = 0x40;
/// A message inside such a batch.
pub const INNER_BATCH: i32 = 0x80;
/// How the body is compressed: 0 zlib (older clients), 1 LZ4 frames, 2 zstd, 3 zlib; shifted by 8.
pub const COMPRESSION_MASK: i32 = 0x700;

/// The transaction bits alone.
pub const fn transaction(sys_flag: i32) -> i32 {
    sys_flag & TRANSACTION_MASK
}

/// `sys_flag` with its transaction bits replaced.
pub const fn with_transaction(sys_flag: i32, transaction: i32) -> i32 {
    (sys_flag & !TRANSACTION_MASK) | (transaction & TRANSACTION_MASK)
}
