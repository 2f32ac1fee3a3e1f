//! JSON bodies: what requests and answers carry besides their header.
//!
//! Each struct reads itself with `decode` (leniently, absent members get their default) and writes itself with
//! `encode` (compact, members in the alphabetical order of upstream's serializer). Members are named as on the
//! wire, in Rust's spelling.

mod admin;
mod cluster;
mod connections;
mod group;
mod heartbeat;
mod offsets;
mod queue;
mod register;
mod route;
mod stats;
mod topic;

pub use admin::*;
pub use cluster::*;
pub use connections::*;
pub use group::*;
pub use heartbeat::*;
pub use offsets::*;
pub use queue::*;
pub use register::*;
pub use route::*;
pub use stats::*;
pub use topic::*;

/// Declares body structs: what they derive, and both directions of their codec.
macro_rules! bodies {
    ($($(#[$meta:meta])* pub struct $name:ident { $($members:tt)* })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        pub struct $name { $($members)* }

        impl $name {
            /// Reads a body. Errors: it is not JSON, or a member is of the wrong kind.
            pub fn decode(bytes: &[u8]) -> Result<Self, crate::json::JsonError> {
                crate::json::from_slice(bytes)
            }

            /// Writes a body.
            pub fn encode(&self) -> bytes::Bytes {
                crate::json::to_bytes(self).expect("bodies are made of what json has a form for")
            }
        }
    )*};
}
use bodies;

/// Declares an enum that is written by name, and read by name or ordinal as fastjson does.
///
/// An unknown name reads as the first variant, where upstream's would become null.
macro_rules! wire_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $wire:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])* #[doc = concat!("(wire: `", $wire, "`)")] $variant,)*
        }

        impl $name {
            const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The name on the wire.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $wire,)* }
            }

            /// The value of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($wire => Some($name::$variant),)* _ => None }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::ALL[0]
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                let by_ordinal = || Self::ALL.get(text.parse::<usize>().ok()?).copied();
                Ok(Self::from_name(&text).or_else(by_ordinal).unwrap_or_default())
            }
        }
    };
}
use wire_enum;

#[cfg(test)]
mod tests;
