//! Asking name servers, any of which will do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use trireme_remoting::body::{ClusterInfo, TopicRouteData};
use trireme_remoting::headers::RouteInfoRequest;
use trireme_remoting::{Frame, RequestCode, response};

use super::Instance;
use crate::error::ClientError;

/// The addresses, and which one answered last.
pub(super) struct NameServers {
    addrs: Vec<String>,
    current: AtomicUsize,
}

impl NameServers {
    /// Starts at a random one, so that many clients spread over them.
    pub(super) fn new(addrs: Vec<String>) -> Self {
        let current = AtomicUsize::new(rand::random_range(0..addrs.len().max(1)));
        Self { addrs, current }
    }
}

impl Instance {
    /// Asks the name server that answered last, and the others if it does not answer.
    ///
    /// Errors: [`ClientError::NameServer`] when none answers.
    pub(crate) async fn ask_name_server(
        &self,
        code: RequestCode,
        request: Frame,
    ) -> Result<Frame, ClientError> {
        self.check_open()?;
        let addrs = &self.name_servers.addrs;
        // All of them together get one timeout, so that a frozen first does not use it up.
        let timeout = (self.config.request_timeout / addrs.len() as u32).max(Duration::from_millis(500));
        let start = self.name_servers.current.load(Ordering::Relaxed);
        let mut last = None;
        for step in 0..addrs.len() {
            let at = (start + step) % addrs.len();
            match self.remoting.invoke(&addrs[at], request.clone(), timeout).await {
                Ok(answer) => {
                    self.name_servers.current.store(at, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(ClientError::NameServer {
            operation: code.name(),
            asked: addrs.join(","),
            source: last.expect("a configuration has at least one name server"),
        })
    }

    /// Asks every name server, for what has to reach each. Errors: the first one.
    pub(crate) async fn ask_every_name_server(
        &self,
        code: RequestCode,
        request: Frame,
    ) -> Result<(), ClientError> {
        self.check_open()?;
        for addr in &self.name_servers.addrs {
            let answer =
                self.remoting.invoke(addr, request.clone(), self.config.request_timeout).await.map_err(
                    |source| ClientError::NameServer { operation: code.name(), asked: addr.clone(), source },
                )?;
            if answer.code != response::SUCCESS {
                return Err(ClientError::refused(code, format!("name server {addr}"), &answer));
            }
        }
        Ok(())
    }

    /// The route of a topic; nothing if the name server does not know the topic.
    pub(crate) async fn fetch_route(&self, topic: &str) -> Result<Option<TopicRouteData>, ClientError> {
        let code = RequestCode::GetRouteInfoByTopic;
        let header = RouteInfoRequest { topic, accept_standard_json_only: Some(true) };
        let answer = self.ask_name_server(code, self.request(code).with_ext(header.to_ext())).await?;
        match answer.code {
            response::SUCCESS => {
                let route = TopicRouteData::decode(answer.body.as_slice());
                Ok(Some(route.map_err(|error| ClientError::answer(code, "the name server", error))?))
            }
            response::TOPIC_NOT_EXIST => Ok(None),
            _ => Err(ClientError::refused(code, "the name server", &answer)),
        }
    }

    /// All broker groups of all clusters.
    pub(crate) async fn fetch_cluster_info(&self) -> Result<ClusterInfo, ClientError> {
        let code = RequestCode::GetBrokerClusterInfo;
        let answer = self.ask_name_server(code, self.request(code)).await?;
        if answer.code != response::SUCCESS {
            return Err(ClientError::refused(code, "the name server", &answer));
        }
        ClusterInfo::decode(answer.body.as_slice())
            .map_err(|error| ClientError::answer(code, "the name server", error))
    }
}
