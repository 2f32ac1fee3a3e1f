//! RocketMQ's remoting wire and nothing else: frames, headers, stored messages, server and client.
//!
//! ```text
//!   socket bytes --frame--> Frame { code, ext, body } --headers, body--> typed requests and answers
//!                             |                       \--message--> stored messages, batches, ids
//!                             v
//!   server::Server, client::Client --own--> connection::Connection --RequestHandler--> your code
//! ```
//!
//! The crate knows how bytes are laid out and how connections live and die. It knows nothing of topics,
//! logs or consensus: what a request means is its handler's business.

pub mod code;
pub mod response;
pub mod version;

pub mod ext;
pub mod frame;

pub mod headers;
pub mod json;

pub mod body;
pub mod message;

pub mod client;
pub mod connection;
pub mod server;

pub use client::{Client, ClientOptions};
pub use code::RequestCode;
pub use connection::{CloseReason, Connection, ConnectionOptions, InvokeError};
pub use ext::{ExtFields, FieldError};
pub use frame::{Body, Frame, FrameDecoder, FrameError, SerializeType};
pub use server::{RequestHandler, Responder, Server, ServerOptions};
pub use version::Language;
