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

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_little_endian().with_variable_int_encoding()
}

/// Encodes a value.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, config())
        .expect("our types have maps of known length and no untagged enums: nothing that can fail to encode")
}

/// Decodes a value that fills `bytes` exactly. A claimed length costs no memory beyond the bytes given.
pub fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, DecodeError> {
    match bincode::serde::decode_from_slice(bytes, config()) {
        Ok((value, used)) if used == bytes.len() => Ok(value),
        Ok((_, used)) => Err(DecodeError { what, reason: format!("{} bytes left over", bytes.len() - used) }),
        Err(error) => Err(DecodeError { what, reason: error.to_string() }),
    }
}
