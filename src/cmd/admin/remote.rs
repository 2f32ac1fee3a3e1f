//! Requests to brokers that the client library has no call for.

use std::time::Duration;

use anyhow::{Context, bail};
use trireme_remoting::body::BrokerData;
use trireme_remoting::{Client, ClientOptions, Frame, response};

/// How long one broker is given.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Connections to brokers. Clones share them.
#[derive(Clone)]
pub struct Remote {
    client: Client,
}

impl Remote {
    pub fn new() -> Self {
        Self { client: Client::new(ClientOptions::default(), None) }
    }

    /// Asks one broker. Errors: why there is no success, in words.
    pub async fn ask(&self, addr: &str, request: Frame) -> Result<Frame, String> {
        self.ask_within(ANSWER_WITHIN, addr, request).await
    }

    /// As [`Remote::ask`], for what takes a broker longer.
    pub async fn ask_within(&self, within: Duration, addr: &str, request: Frame) -> Result<Frame, String> {
        let answer = self.client.invoke(addr, request, within).await.map_err(|error| error.to_string())?;
        if answer.code == response::SUCCESS { Ok(answer) } else { Err(refusal(&answer)) }
    }

    /// Asks a group: its leader, or if that does not answer the other replicas, which pass on what only the
    /// leader can say. A refusal is an answer.
    pub async fn ask_group(&self, group: &BrokerData, request: impl Fn() -> Frame) -> anyhow::Result<Frame> {
        self.ask_group_within(ANSWER_WITHIN, group, request).await
    }

    /// As [`Remote::ask_group`], for what takes a broker longer.
    pub async fn ask_group_within(
        &self,
        within: Duration,
        group: &BrokerData,
        request: impl Fn() -> Frame,
    ) -> anyhow::Result<Frame> {
        let mut last = None;
        for addr in group.broker_addrs.values() {
            match self.client.invoke(addr, request(), within).await {
                Ok(answer) => return Ok(answer),
                Err(error) => last = Some((addr, error)),
            }
        }
        let name = &group.broker_name;
        match last {
            Some((addr, error)) => {
                Err(error).with_context(|| format!("no replica of {name} answers; {addr}"))
            }
            None => bail!("no replica of {name} is registered with the name server"),
        }
    }

    /// Closes the connections.
    pub fn close(&self) {
        self.client.shutdown();
    }
}

/// What a broker said instead of success.
pub fn refusal(answer: &Frame) -> String {
    let name = response::name(answer.code).map_or_else(|| answer.code.to_string(), str::to_owned);
    format!("{name}: {}", answer.remark.as_deref().unwrap_or("no reason given"))
}
