//! Why a request is not done: a response code and words for a person.

use std::future::Future;
use std::sync::Arc;

use trireme_remoting::{FieldError, Frame, Responder, response};

use super::Router;
use crate::names::NameError;
use crate::replica::Shared;
use crate::sequencer::SubmitError;

/// A refused request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// RocketMQ response code.
    pub code: i32,
    /// What is wrong and, where it is not obvious, what to do.
    pub reason: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(code: i32, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// Refuses a request that names another broker group than this replica's, or none.
    pub fn unless_of(shared: &Shared, group: Option<&str>) -> Result<(), Self> {
        let ours = &shared.config.group;
        if group == Some(ours) {
            return Ok(());
        }
        let reason = format!("this is a replica of {ours}, not of {}", group.unwrap_or("no group"));
        Err(Self::new(response::INVALID_PARAMETER, reason))
    }

    /// Answers with it.
    pub fn reply(self, responder: Responder) {
        responder.reply(Frame::response(self.code).with_remark(self.reason));
    }
}

impl From<FieldError> for Refusal {
    fn from(error: FieldError) -> Self {
        Self::new(response::SYSTEM_ERROR, error.to_string())
    }
}

impl From<NameError> for Refusal {
    fn from(error: NameError) -> Self {
        Self::new(response::INVALID_PARAMETER, error.to_string())
    }
}

/// Answers "success", or refuses the request, when `done` is. For requests that are rare: it takes a task.
pub fn answer_when(
    shared: &Arc<Shared>,
    request: Frame,
    responder: Responder,
    done: impl Future<Output = Result<(), SubmitError>> + Send + 'static,
) {
    let shared = shared.clone();
    tokio::spawn(async move {
        match done.await {
            Ok(()) => responder.reply(Frame::response(response::SUCCESS)),
            Err(error) => refuse(&shared, request, responder, error),
        }
    });
}

/// What is to be done with a request that the sequencer refused: whoever leads now may take what is not in the log and never
/// will be.
pub fn refuse(shared: &Arc<Shared>, request: Frame, responder: Responder, error: SubmitError) {
    match error {
        SubmitError::NotLeader => Router::reroute(shared, request, responder),
        error => Refusal::new(error.code(), error.to_string()).reply(responder),
    }
}
