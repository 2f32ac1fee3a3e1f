//! Requests to a broker group: to whichever replica answers, and in the end to its leader.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::debug;
use trireme_remoting::{Frame, Header, InvokeError, RequestCode, response};

use super::Instance;
use crate::error::ClientError;
use crate::route::{Awaited, Broker, Replica, clock_ms};

/// The field by which a replica that forwarded a request names the leader.
const LEADER_ADDR: &str = "LEADER_ADDR";

/// The pause before a group without a leader is asked again: first, and from then on. An election takes some
/// hundreds of milliseconds.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const PAUSE: Duration = Duration::from_millis(100);

/// An answer and who gave it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: RequestCode,
    pub(crate) frame: Frame,
    broker: Arc<str>,
    replica: Arc<Replica>,
}

impl Answer {
    /// The frame of a success. Errors: [`ClientError::Refused`].
    pub(crate) fn success(self) -> Result<Frame, ClientError> {
        if self.frame.code == response::SUCCESS { Ok(self.frame) } else { Err(self.refusal()) }
    }

    /// The answer as a refusal.
    pub(crate) fn refusal(&self) -> ClientError {
        ClientError::refused(self.code, self.peer(), &self.frame)
    }

    /// The answer as one that does not parse.
    pub(crate) fn malformed(&self, reason: impl ToString) -> ClientError {
        ClientError::answer(self.code, &self.peer(), reason)
    }

    fn peer(&self) -> String {
        peer(&self.broker, &self.replica)
    }
}

/// How often code 1 is tried again at another replica. A follower says so when the leader died with the request,
/// and a leader when it was deposed; but it can also be the true answer, and comes in the end then.
const SYSTEM_ERRORS: u32 = 2;

/// How errors name a replica.
pub(crate) fn peer(broker: &str, replica: &Replica) -> String {
    format!("{broker} ({})", replica.addr)
}

/// How long to wait for one replica when `left` of `total` is left. The first one gets most of the time, being
/// the leader or waiting for one itself; those after it get what is left. `alone`: there is no second one.
///
/// A frozen replica does not get that much, see [`super::watch`].
pub(crate) fn patience(total: Duration, left: Duration, is_first: bool, alone: bool) -> Duration {
    if is_first && !alone { left.min(total * 2 / 3) } else { left }
}

impl Instance {
    /// One try at one replica. What it tells of the group, by word or silence, is remembered.
    pub(crate) async fn try_replica(
        &self,
        broker: &Broker,
        replica: &Replica,
        awaited: Awaited,
        mut request: Frame,
        timeout: Duration,
    ) -> Result<Frame, InvokeError> {
        let ext = std::mem::take(&mut request.ext);
        self.try_replica_with(broker, replica, awaited, request, &ext, timeout).await
    }

    /// As [`try_replica`](Self::try_replica), with `header`'s fields instead of the request's.
    pub(crate) async fn try_replica_with(
        &self,
        broker: &Broker,
        replica: &Replica,
        awaited: Awaited,
        request: Frame,
        header: &(impl Header + Sync),
        timeout: Duration,
    ) -> Result<Frame, InvokeError> {
        let waiting = replica.waiting(awaited, clock_ms());
        let answer = self.remoting.invoke_with(&replica.addr, request, header, timeout).await;
        drop(waiting);
        match &answer {
            Ok(frame) => {
                replica.heard(clock_ms());
                if let Some(leader) = frame.ext.get(LEADER_ADDR) {
                    self.on_leadership(broker.leads(leader));
                }
            }
            // Our own fault; says nothing of the replica.
            Err(InvokeError::Frame(_)) => {}
            // Slow with this one, but alive.
            Err(InvokeError::Timeout { .. }) if replica.was_heard(clock_ms(), timeout) => self.refresh_soon(),
            Err(_) => {
                if replica.suspect(clock_ms(), self.config.suspect_interval) {
                    debug!(broker = %broker.name, addr = %replica.addr, "replica does not answer");
                }
                self.refresh_soon();
            }
        }
        answer
    }

    /// Asks for what only the leader can do, until some replica gives an answer that is not about leadership.
    ///
    /// A replica that does not answer is followed by the others at once; while the group has no leader (code 14)
    /// they are asked again and again with short pauses, and a few times after code 1. The request may thus be
    /// carried out more than once.
    /// Errors: [`ClientError::NoAnswer`], [`ClientError::Closed`].
    pub(crate) async fn ask_leader(
        &self,
        broker: &Broker,
        code: RequestCode,
        request: Frame,
        total: Duration,
    ) -> Result<Answer, ClientError> {
        let started = Instant::now();
        let deadline = started + total;
        let mut tried: Vec<Arc<Replica>> = Vec::new();
        let mut pause = FIRST_PAUSE;
        let mut last: Option<Result<Answer, InvokeError>> = None;
        let mut system_errors = 0;
        loop {
            self.check_open()?;
            let now = Instant::now();
            if now >= deadline {
                break;
            }
            let Some(replica) = broker.pick(&tried) else {
                if tried.is_empty() {
                    return Err(ClientError::UnknownBroker { broker: broker.name.to_string() });
                }
                tried.clear();
                sleep(pause.min(deadline - now)).await;
                pause = PAUSE;
                continue;
            };
            let is_first = last.is_none();
            let timeout = patience(total, deadline - now, is_first, broker.is_alone());
            match self.try_replica(broker, &replica, Awaited::Soon, request.clone(), timeout).await {
                Ok(frame) => {
                    let passing = match frame.code {
                        response::SERVICE_NOT_AVAILABLE | response::GO_AWAY => true,
                        response::SYSTEM_ERROR if !broker.is_alone() => {
                            system_errors += 1;
                            system_errors <= SYSTEM_ERRORS
                        }
                        _ => false,
                    };
                    let answer =
                        Answer { code, frame, broker: broker.name.clone(), replica: replica.clone() };
                    if !passing {
                        return Ok(answer);
                    }
                    last = Some(Ok(answer));
                    tried.push(replica);
                    sleep(pause.min(deadline.saturating_duration_since(Instant::now()))).await;
                    pause = PAUSE;
                }
                Err(InvokeError::Frame(error)) => {
                    let peer = peer(&broker.name, &replica);
                    return Err(ClientError::answer(code, &peer, format!("request not sent: {error}")));
                }
                Err(error) => {
                    last = Some(Err(error));
                    tried.push(replica);
                }
            }
        }
        let never_asked =
            || InvokeError::Timeout { addr: broker.name.to_string(), code: code.code(), after: total };
        last.unwrap_or_else(|| Err(never_asked())).map_err(|source| ClientError::NoAnswer {
            operation: code.name(),
            broker: broker.name.to_string(),
            after: started.elapsed(),
            source,
        })
    }

    /// As [`ask_leader`](Self::ask_leader) with the configured timeout; an answer other than success is an error.
    pub(crate) async fn leader_success(
        &self,
        broker: &Broker,
        code: RequestCode,
        request: Frame,
    ) -> Result<Frame, ClientError> {
        self.ask_leader(broker, code, request, self.config.request_timeout).await?.success()
    }

    /// Queues a request on a connection to the group, its leader's if it can be, that nobody answers.
    ///
    /// Waits while the connection has more than `backlog` unsent bytes. Errors: [`ClientError::NoAnswer`] if no
    /// replica can be reached.
    pub(crate) async fn oneway_leader(
        &self,
        broker: &Broker,
        code: RequestCode,
        request: Frame,
        backlog: usize,
    ) -> Result<(), ClientError> {
        let started = Instant::now();
        let mut tried = Vec::new();
        let mut last = None;
        while let Some(replica) = broker.pick(&tried) {
            self.check_open()?;
            let sent = async {
                let connection = self.remoting.connection(&replica.addr).await?;
                // Nothing tells when a backlog has shrunk; a millisecond is short against writing megabytes.
                while connection.queued_bytes() > backlog && !connection.is_closed() {
                    sleep(Duration::from_millis(1)).await;
                }
                connection.oneway(request.clone())
            };
            match sent.await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    replica.suspect(clock_ms(), self.config.suspect_interval);
                    self.refresh_soon();
                    last = Some(error);
                    tried.push(replica);
                }
            }
        }
        let Some(source) = last else {
            return Err(ClientError::UnknownBroker { broker: broker.name.to_string() });
        };
        let (operation, broker) = (code.name(), broker.name.to_string());
        Err(ClientError::NoAnswer { operation, broker, after: started.elapsed(), source })
    }

    /// Asks one address, which may be any broker's. Errors: no answer, or not a success.
    pub(crate) async fn ask_addr(
        &self,
        addr: &str,
        code: RequestCode,
        request: Frame,
    ) -> Result<Frame, ClientError> {
        self.check_open()?;
        let answer = self.remoting.invoke(addr, request, self.config.request_timeout).await;
        let frame = answer.map_err(|source| ClientError::NoAnswer {
            operation: code.name(),
            broker: addr.to_owned(),
            after: self.config.request_timeout,
            source,
        })?;
        if frame.code == response::SUCCESS {
            Ok(frame)
        } else {
            Err(ClientError::refused(code, addr, &frame))
        }
    }
}
