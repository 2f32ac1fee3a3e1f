//! Requests to a broker group: to whichever replica answers, and in the end to its leader.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use trireme_remoting::{Frame, InvokeError, RequestCode, response};

use super::Instance;
use crate::error::ClientError;
use crate::route::Broker;

/// The field by which a replica that forwarded a request names the leader.
const LEADER_ADDR: &str = "LEADER_ADDR";

/// The pause before a group without a leader is asked again: first, and from then on. An election takes some
/// hundreds of milliseconds.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const PAUSE: Duration = Duration::from_millis(100);

/// How long to wait for whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// For an answer, over all tries.
    pub(crate) total: Duration,
    /// For one replica, before another one is asked.
    pub(crate) per_try: Duration,
}

impl Patience {
    /// A third of `total` for each of three replicas.
    pub(crate) fn shared(total: Duration) -> Self {
        Self { total, per_try: total / 3 }
    }

    /// All of `total` for one replica, which others follow only if it is gone.
    pub(crate) fn undivided(total: Duration) -> Self {
        Self { total, per_try: total }
    }
}

/// An answer and who gave it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: RequestCode,
    pub(crate) frame: Frame,
    broker: Arc<str>,
    addr: Arc<str>,
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
        peer(&self.broker, &self.addr)
    }
}

/// How errors name a replica.
pub(crate) fn peer(broker: &str, addr: &str) -> String {
    format!("{broker} ({addr})")
}

impl Instance {
    /// One try at one replica. What it tells of the group, by word or silence, is remembered.
    pub(crate) async fn try_replica(
        &self,
        broker: &Broker,
        addr: &Arc<str>,
        request: Frame,
        timeout: Duration,
    ) -> Result<Frame, InvokeError> {
        let answer = self.remoting.invoke(addr, request, timeout).await;
        match &answer {
            Ok(frame) => {
                let leadership = broker.answered(addr, frame.ext.get(LEADER_ADDR));
                self.on_leadership(leadership);
            }
            // Our own fault; says nothing of the replica.
            Err(InvokeError::Frame(_)) => {}
            Err(_) => {
                broker.suspect(addr, self.config.suspect_interval);
                self.refresh_soon();
            }
        }
        answer
    }

    /// Asks for what only the leader can do, until some replica gives an answer that is not about leadership.
    ///
    /// A replica that does not answer is followed by the others at once; while the group has no leader (code 14)
    /// they are asked again and again with short pauses. The request may thus be carried out more than once.
    /// Errors: [`ClientError::NoAnswer`], [`ClientError::Closed`].
    pub(crate) async fn ask_leader(
        &self,
        broker: &Broker,
        code: RequestCode,
        request: Frame,
        patience: Patience,
    ) -> Result<Answer, ClientError> {
        let started = Instant::now();
        let deadline = started + patience.total;
        let mut tried: Vec<Arc<str>> = Vec::new();
        let mut pause = FIRST_PAUSE;
        let mut last: Result<Answer, InvokeError> = Err(InvokeError::Timeout {
            addr: broker.name.to_string(),
            code: code.code(),
            after: patience.total,
        });
        loop {
            self.check_open()?;
            let now = Instant::now();
            if now >= deadline {
                break;
            }
            let Some(addr) = broker.pick(&tried) else {
                if tried.is_empty() {
                    return Err(ClientError::UnknownBroker { broker: broker.name.to_string() });
                }
                tried.clear();
                sleep(pause.min(deadline - now)).await;
                pause = PAUSE;
                continue;
            };
            let per_try = if broker.is_alone() { patience.total } else { patience.per_try };
            let timeout = per_try.min(deadline - now);
            match self.try_replica(broker, &addr, request.clone(), timeout).await {
                Ok(frame) => {
                    let leaderless =
                        matches!(frame.code, response::SERVICE_NOT_AVAILABLE | response::GO_AWAY);
                    let answer = Answer { code, frame, broker: broker.name.clone(), addr: addr.clone() };
                    if !leaderless {
                        return Ok(answer);
                    }
                    last = Ok(answer);
                    tried.push(addr);
                    sleep(pause.min(deadline.saturating_duration_since(Instant::now()))).await;
                    pause = PAUSE;
                }
                Err(InvokeError::Frame(error)) => {
                    let peer = peer(&broker.name, &addr);
                    return Err(ClientError::answer(code, &peer, format!("request not sent: {error}")));
                }
                Err(error) => {
                    last = Err(error);
                    tried.push(addr);
                }
            }
        }
        last.map_err(|source| ClientError::NoAnswer {
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
        let patience = Patience::shared(self.config.request_timeout);
        self.ask_leader(broker, code, request, patience).await?.success()
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
        while let Some(addr) = broker.pick(&tried) {
            self.check_open()?;
            let sent = async {
                let connection = self.remoting.connection(&addr).await?;
                // Nothing tells when a backlog has shrunk; a millisecond is short against writing megabytes.
                while connection.queued_bytes() > backlog && !connection.is_closed() {
                    sleep(Duration::from_millis(1)).await;
                }
                connection.oneway(request.clone())
            };
            match sent.await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    broker.suspect(&addr, self.config.suspect_interval);
                    self.refresh_soon();
                    last = Some(error);
                    tried.push(addr);
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
