//! bincode, and nothing of it elsewhere in this crate: log commands and saved state pass here.
//!
//! bincode 2 is given but no longer developed; its successor changes this file. Message bytes never
//! come here.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes that are not what they should be.
#[derive(Debug, thiserror::Error)]
#[error("cannot decode {what}: {reason}")]
pub struct DecodeError {
    /// The type expected.
    pub what: &'static str,
    /// bincode's reason.
    pub reason: String,
}

/// Bytes of a value that is small: all commands, and the saved state of all but the largest brokers.
const SMALL: usize = 1024 * 1024;
/// The longest string or number list that a small value may claim; memory for it is taken before it is read. A value
/// in memory is at most 8 times as long as on the wire, where a number is at least one byte.
const SMALL_LIMIT: usize = 8 * SMALL;
/// The same for larger values: memory that is never written to, for bytes whose checksum was right.
const LARGE_LIMIT: usize = 8 * 1024 * 1024 * 1024;

fn config() -> bincode::config::Configuration {
    bincode::config::standard().with_little_endian().with_variable_int_encoding()
}

/// Encodes a value.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, config())
        .expect("our types have maps of known length and no untagged enums: nothing that can fail to encode")
}

/// Decodes a value that fills `bytes` exactly. A claimed length is refused before memory is taken for it.
pub fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, DecodeError> {
    let decoded = if bytes.len() <= SMALL {
        bincode::serde::decode_from_slice(bytes, config().with_limit::<SMALL_LIMIT>())
    } else {
        bincode::serde::decode_from_slice(bytes, config().with_limit::<LARGE_LIMIT>())
    };
    match decoded {
        Ok((value, used)) if used == bytes.len() => Ok(value),
        Ok((_, used)) => Err(DecodeError { what, reason: format!("{} bytes left over", bytes.len() - used) }),
        Err(error) => Err(DecodeError { what, reason: error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claimed_length_is_an_error() {
        // A string of 2^63 bytes, and one of 1 GiB.
        for claimed in [1u64 << 63, 1 << 30] {
            let mut bytes = encode(&claimed);
            bytes.extend_from_slice(b"short");
            assert!(decode::<String>("string", &bytes).is_err());
        }
        let long = "x".repeat(3 * SMALL);
        assert!(decode::<String>("string", &encode(&long)).is_ok_and(|decoded| decoded == long));
        let numbers = vec![0u64; SMALL - 8];
        assert!(decode::<Vec<u64>>("numbers", &encode(&numbers)).is_ok_and(|decoded| decoded == numbers));
    }
}
