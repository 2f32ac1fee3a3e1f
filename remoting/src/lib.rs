//! RocketMQ's remoting wire and nothing else: frames, headers, stored messages, server and client.
//!
//! ```text
//!   socket bytes --frame--> Frame { code, ext, body } --headers, body--> typed requests and answers
//!                             |                       \--message--> stored messages, batches, ids
//!                             v
//!   server::Server, client::Client --own--> connection::Connection --RequestHandler--> your code
//! ```
//!
//! A server that echoes, and a client that asks it:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use trireme_remoting::{
//!     Client, ClientOptions, Frame, RequestCode, RequestHandler, Responder, Server, ServerOptions, response,
//! };
//!
//! struct Echo;
//!
//! impl RequestHandler for Echo {
//!     fn on_request(&self, request: Frame, responder: Responder) {
//!         responder.reply(Frame::response(response::SUCCESS).with_body(request.body));
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::bind("127.0.0.1:0".parse()?, ServerOptions::default(), Arc::new(Echo))?;
//! let client = Client::new(ClientOptions::default(), None);
//! let request = Frame::request(RequestCode::HeartBeat).with_body(b"hello".to_vec());
//! let answer = client.invoke(&server.local_addr().to_string(), request, Duration::from_secs(3)).await?;
//! assert_eq!(answer.body.as_slice(), b"hello");
//! server.shutdown(Duration::from_secs(3)).await;
//! # Ok(())
//! # }
//! ```
//!
//! The crate knows how bytes are laid out and how connections live and die. It knows nothing of topics,
//! logs or consensus: what a request means is its handler's business.

pub mod code;
pub mod response;
pub mod version;

pub mod ext;
mod fields;
mod find;
pub mod frame;

pub mod headers;
pub mod json;

pub mod body;
pub mod message;

pub mod client;
pub mod connection;
pub mod server;
mod stall;

pub use client::{Client, ClientOptions};
pub use code::RequestCode;
pub use connection::{CloseReason, Connection, ConnectionOptions, InvokeError};
pub use ext::{ExtFields, FieldError};
pub use fields::{FieldSink, Header};
pub use frame::{Body, Frame, FrameDecoder, FrameError, SerializeType};
pub use server::{RequestHandler, Responder, Server, ServerOptions};
pub use version::Language;
