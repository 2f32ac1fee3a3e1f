//! Bodies, smaller: zlib as every RocketMQ client reads it.

use std::io::{Read as _, Write as _};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use trireme_remoting::message::sys_flag;

/// RocketMQ's level: `msgCompressLevel`.
const LEVEL: Compression = Compression::new(5);

/// The largest body that is unpacked: against a small message that claims to be huge.
const UNPACKED_MAX: usize = 64 << 20;

/// The body packed, or nothing if that would not make it smaller.
pub(crate) fn deflate(body: &[u8]) -> Option<Bytes> {
    let mut encoder = ZlibEncoder::new(Vec::with_capacity(body.len() / 2), LEVEL);
    let packed =
        encoder.write_all(body).and_then(|()| encoder.finish()).expect("writing to memory cannot fail");
    (packed.len() < body.len()).then(|| packed.into())
}

/// The body of a message whose `sys_flag` says that it is packed, unpacked.
///
/// Errors: the notation is not zlib, the bytes are not what they claim, or more than [`UNPACKED_MAX`] come out.
pub(crate) fn inflate(body: &[u8], sys_flag: i32) -> Result<Bytes, String> {
    inflate_up_to(body, sys_flag, UNPACKED_MAX)
}

fn inflate_up_to(body: &[u8], sys_flag: i32, max: usize) -> Result<Bytes, String> {
    match (sys_flag & sys_flag::COMPRESSION_MASK) >> 8 {
        0 | 3 => {}
        1 => return Err("lz4 bodies are not supported".to_owned()),
        2 => return Err("zstd bodies are not supported".to_owned()),
        other => return Err(format!("compression {other} is unknown")),
    }
    let mut unpacked = Vec::with_capacity(body.len().saturating_mul(3).min(max));
    let limit = max as u64 + 1;
    ZlibDecoder::new(body).take(limit).read_to_end(&mut unpacked).map_err(|error| error.to_string())?;
    if unpacked.len() > max {
        return Err(format!("unpacks to more than {max} bytes"));
    }
    Ok(unpacked.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn both_directions() {
        let body = b"abc".repeat(4096);
        let packed = deflate(&body).unwrap();
        assert!(packed.len() < body.len() / 10);
        for notation in [0, 3 << 8] {
            assert_eq!(inflate(&packed, notation | sys_flag::COMPRESSED).unwrap(), body);
        }
    }

    #[test]
    fn what_does_not_shrink_is_left_alone() {
        assert_eq!(deflate(b"x"), None);
    }

    #[test]
    fn refused() {
        assert!(inflate(b"not zlib", 0).is_err());
        assert!(inflate(b"", 1 << 8).unwrap_err().contains("lz4"));
        assert!(inflate(b"", 2 << 8).unwrap_err().contains("zstd"));
        let bomb = deflate(&[0; 1001]).unwrap();
        assert!(inflate_up_to(&bomb, 0, 1000).unwrap_err().contains("more than"));
        assert!(inflate_up_to(&bomb, 0, 1001).is_ok());
    }
}
