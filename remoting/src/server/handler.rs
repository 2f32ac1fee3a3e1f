//! What answers requests, and what it answers through.

use tokio::time::Instant;
use tracing::debug;

use crate::connection::{Connection, InvokeError};
use crate::fields::Header;
use crate::frame::{Body, Frame, Head, RESPONSE, SerializeType};
use crate::response;
use crate::version::{self, Language};

/// Answers requests.
pub trait RequestHandler: Send + Sync + 'static {
    /// A request has arrived.
    ///
    /// Called on the connection's own task, in order of arrival; must not block, since the connection reads
    /// nothing in the meantime. Reply at once, or keep the responder and reply later from anywhere, in any
    /// order. A panic closes the connection.
    fn on_request(&self, request: Frame, responder: Responder);

    /// The connection is closed; no request of it follows. Called once.
    fn on_close(&self, connection: &Connection) {
        let _ = connection;
    }

    /// Whether this server was cut off until now, or until a moment ago, and was not yet when a client was `heard` last. What
    /// is read of it next was sent long ago, maybe; if it has gone since, it has been told of a failure and has turned to
    /// somebody else, and its requests are not carried out, but for those that are one-way. Called for every read.
    fn was_cut_off_since(&self, heard: Instant) -> bool {
        let _ = heard;
        false
    }
}

/// The duty to answer one request.
///
/// Dropped without a reply it answers `SYSTEM_ERROR`, so that no request is forgotten; a one-way request is
/// never answered.
#[derive(Debug)]
pub struct Responder {
    connection: Connection,
    code: i32,
    opaque: i32,
    oneway: bool,
    serialize: SerializeType,
    request_bytes: usize,
    answered: bool,
}

impl Responder {
    pub(crate) fn new(connection: Connection, request: &Frame) -> Self {
        let request_bytes = request.body.len();
        connection.pressure().begin_request(request_bytes);
        Self {
            connection,
            code: request.code,
            opaque: request.opaque,
            oneway: request.is_oneway(),
            serialize: request.serialize,
            request_bytes,
            answered: false,
        }
    }

    /// Answers with `frame`; opaque, flags, notation, language and version are filled in here.
    ///
    /// Does nothing if the request was one-way or the connection is gone. An answer too large for a frame
    /// becomes `SYSTEM_ERROR` with the reason.
    pub fn reply(mut self, frame: Frame) {
        self.answer(frame);
    }

    /// Answers with a typed header, encoded straight into what is written; otherwise as
    /// [`reply`](Self::reply).
    pub fn reply_header(mut self, code: i32, header: &impl Header, body: Body) {
        self.answered = true;
        if self.oneway {
            return;
        }
        let head = Head {
            code,
            language: Language::Java,
            version: version::OURS,
            opaque: self.opaque,
            flag: RESPONSE,
            remark: None,
            serialize: self.serialize,
        };
        let sent = self.connection.send_header(&head, header, body);
        self.check(sent);
    }

    /// Answers with a code and the reason for it.
    pub fn refuse(self, code: i32, remark: impl Into<String>) {
        self.reply(Frame::response(code).with_remark(remark));
    }

    /// Where the request came from.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Whether an answer would go nowhere.
    pub fn is_oneway(&self) -> bool {
        self.oneway
    }

    fn answer(&mut self, mut frame: Frame) {
        self.answered = true;
        if self.oneway {
            return;
        }
        frame.opaque = self.opaque;
        frame.set_response();
        frame.serialize = self.serialize;
        frame.language = Language::Java;
        frame.version = version::OURS;
        let sent = self.connection.send_response(frame);
        self.check(sent);
    }

    fn check(&mut self, sent: Result<(), InvokeError>) {
        match sent {
            Ok(()) => {}
            Err(InvokeError::Frame(error)) => {
                let refusal = Frame::response(response::SYSTEM_ERROR).with_remark(format!("answer: {error}"));
                self.answer(refusal);
            }
            Err(error) => {
                debug!(peer = %self.connection.peer_addr(), code = self.code, %error, "answer not sent");
            }
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if !self.answered {
            self.answer(
                Frame::response(response::SYSTEM_ERROR)
                    .with_remark("the request was dropped without an answer"),
            );
        }
        self.connection.pressure().end_request(self.request_bytes);
    }
}
