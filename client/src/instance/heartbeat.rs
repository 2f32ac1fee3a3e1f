//! Telling brokers who is here.

use std::time::Duration;

use futures_util::future::join_all;
use tracing::{debug, warn};
use trireme_remoting::headers::UnregisterClientRequest;
use trireme_remoting::{RequestCode, response};

use super::Instance;
use crate::route::Awaited;

/// How long a broker has to take a heartbeat, or a good-bye.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A group that leaves.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Leaving<'a> {
    /// The last producer of this group.
    Producer(&'a str),
    /// The consumer of this group.
    Consumer(&'a str),
}

impl Instance {
    /// Tells every broker of our groups; only leaders if nobody consumes. Returns when all have answered or had
    /// their time. A replica that does not answer is remembered as such, which is half of a heartbeat's use.
    pub(crate) async fn heartbeat(&self) {
        let Some((consuming, data)) = self.members.heartbeat(&self.client_id) else { return };
        let body = data.encode();
        let brokers = self.brokers.all();
        let targets = brokers.iter().flat_map(|broker| {
            let replicas = if consuming { broker.replicas() } else { broker.leader().into_iter().collect() };
            replicas.into_iter().map(move |replica| (broker, replica))
        });
        let beats = targets.map(|(broker, replica)| {
            let request = self.request(RequestCode::HeartBeat).with_body(body.clone());
            async move {
                match self.try_replica(broker, &replica, Awaited::Soon, request, TIMEOUT).await {
                    Ok(answer) if answer.code == response::SUCCESS => {}
                    Ok(answer) => {
                        let remark = answer.remark.unwrap_or_default();
                        warn!(broker = %broker.name, addr = %replica.addr, code = answer.code, remark, "heartbeat refused");
                    }
                    Err(error) => debug!(broker = %broker.name, addr = %replica.addr, %error, "heartbeat not answered"),
                }
            }
        });
        join_all(beats).await;
    }

    /// Tells every broker that a group has left this client, so that its other members need not wait for our
    /// silence. Best effort.
    pub(crate) async fn unregister(&self, leaving: Leaving<'_>) {
        let (producer_group, consumer_group) = match leaving {
            Leaving::Producer(group) => (Some(group), None),
            Leaving::Consumer(group) => (None, Some(group)),
        };
        let header = UnregisterClientRequest { client_id: &self.client_id, producer_group, consumer_group };
        let brokers = self.brokers.all();
        let targets = brokers
            .iter()
            .flat_map(|broker| broker.replicas().into_iter().map(move |replica| (broker, replica)));
        let farewells = targets.map(|(broker, replica)| {
            let request = self.request(RequestCode::UnregisterClient).with_ext(header.to_ext());
            async move {
                if let Err(error) = self.try_replica(broker, &replica, Awaited::Soon, request, TIMEOUT).await
                {
                    debug!(broker = %broker.name, addr = %replica.addr, %error, "unregistering not answered");
                }
            }
        });
        join_all(farewells).await;
    }
}
