//! The listening side.

mod handler;
mod listen;

pub use handler::{RequestHandler, Responder};
pub use listen::{BindError, Server, ServerOptions};
