//! Segments of checksummed frames on disk: append, read, flush, truncate, trim, recover.
