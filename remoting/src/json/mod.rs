//! JSON as RocketMQ's clients and brokers really write it.
//!
//! Fastjson, which sits at both ends of the upstream protocol, emits text that no standard parser takes:
//! integer keys without quotes, and whole objects as keys. C++ clients write numbers where strings belong and
//! end with a newline. So the reader here is lenient and the writer knows the object-key form; both speak
//! serde, and a body is just a struct.

mod de;
mod lexer;
mod parse;
mod ser;

pub use de::{from_slice, from_value};
pub use lexer::JsonError;
pub use parse::{MAX_DEPTH, MAX_VALUES, parse};
pub use ser::{to_bytes, to_string};

pub(crate) use lexer::{Lexer, write_escaped};

#[cfg(test)]
mod tests;
