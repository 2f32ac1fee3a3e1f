//! The routes of the topics in use, fetched when first needed and kept fresh.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use parking_lot::RwLock;
use tracing::{debug, info};
use trireme_remoting::body::TopicRouteData;

use super::Instance;
use crate::error::ClientError;
use crate::message::MessageQueue;
use crate::route::{Broker, Leadership, PublishQueue, TopicRoute, provisional, sort};
use crate::validate::DEFAULT_TOPIC;

/// Routes that are asked for at the same time.
const REFRESHES_AT_ONCE: usize = 32;

/// Routes by topic.
#[derive(Default)]
pub(super) struct Routes {
    table: RwLock<HashMap<Arc<str>, Arc<TopicRoute>>>,
}

impl Instance {
    /// The route of a topic as last heard.
    pub(crate) fn cached_route(&self, topic: &str) -> Option<Arc<TopicRoute>> {
        self.routes.table.read().get(topic).cloned()
    }

    /// The route of a topic that exists, asked for if need be.
    pub(crate) async fn route(&self, topic: &str) -> Result<Arc<TopicRoute>, ClientError> {
        match self.cached_route(topic).filter(|route| !route.provisional) {
            Some(route) => Ok(route),
            None => self
                .refresh_route(topic)
                .await?
                .filter(|route| !route.provisional)
                .ok_or_else(|| ClientError::TopicNotFound { topic: topic.to_owned() }),
        }
    }

    /// The route to write to a topic by. A topic that does not exist gets the one that it will have once the
    /// first message made it, with at most `default_queues` queues per group; see the protocol's `TBW102`.
    pub(crate) async fn publish_route(
        &self,
        topic: &str,
        default_queues: i32,
    ) -> Result<Arc<TopicRoute>, ClientError> {
        if let Some(route) = self.cached_route(topic).filter(|route| !route.publish.is_empty()) {
            return Ok(route);
        }
        if let Some(route) = self.refresh_route(topic).await? {
            return Ok(route);
        }
        let template = self.fetch_route(DEFAULT_TOPIC).await?;
        let template = template.ok_or_else(|| ClientError::TopicNotFound { topic: topic.to_owned() })?;
        Ok(self.adopt(topic, provisional(template, default_queues), true))
    }

    /// Asks for a topic's route now. A provisional route stays while the topic does not exist.
    pub(crate) async fn refresh_route(&self, topic: &str) -> Result<Option<Arc<TopicRoute>>, ClientError> {
        match self.fetch_route(topic).await? {
            Some(data) => Ok(Some(self.adopt(topic, data, false))),
            None => Ok(self.cached_route(topic)),
        }
    }

    /// Asks for every known route now, and forgets broker groups that are in none any more.
    pub(super) async fn refresh_routes(&self) {
        let topics: Vec<Arc<str>> = self.routes.table.read().keys().cloned().collect();
        let refreshes = stream::iter(topics).map(|topic| async move {
            if let Err(error) = self.refresh_route(&topic).await {
                debug!(%topic, %error, "route not refreshed");
            }
        });
        refreshes.buffer_unordered(REFRESHES_AT_ONCE).collect::<()>().await;
        let in_use: HashSet<Arc<str>> = {
            let table = self.routes.table.read();
            table.values().flat_map(|route| route.brokers.iter().map(|broker| broker.name.clone())).collect()
        };
        self.brokers.retain(|name| in_use.contains(name));
    }

    /// The queue, as a route tells where to write to it.
    pub(crate) async fn publish_queue(&self, queue: &MessageQueue) -> Result<PublishQueue, ClientError> {
        if let Some(found) = self.cached_route(&queue.topic).and_then(|route| route.find(queue).cloned()) {
            return Ok(found);
        }
        let route = self.refresh_route(&queue.topic).await?;
        route
            .and_then(|route| route.find(queue).cloned())
            .ok_or_else(|| ClientError::NoQueue { topic: queue.to_string(), kind: "writable" })
    }

    /// The broker group that has the topic's queues, asked for if no route has named it yet.
    pub(crate) async fn broker_of(&self, queue: &MessageQueue) -> Result<Arc<Broker>, ClientError> {
        if let Some(broker) = self.brokers.get(&queue.broker_name) {
            return Ok(broker);
        }
        self.refresh_route(&queue.topic).await?;
        self.brokers
            .get(&queue.broker_name)
            .ok_or_else(|| ClientError::UnknownBroker { broker: queue.broker_name.to_string() })
    }

    /// Learns a group's addresses from elsewhere than a topic's route.
    pub(crate) fn adopt_broker(&self, name: &str, addrs: &BTreeMap<i64, String>) -> Arc<Broker> {
        let (broker, leadership) = self.brokers.update(name, addrs);
        self.on_leadership(leadership);
        broker
    }

    /// Makes `data` the topic's route.
    fn adopt(&self, topic: &str, mut data: TopicRouteData, provisional: bool) -> Arc<TopicRoute> {
        sort(&mut data);
        for broker in &data.broker_datas {
            self.adopt_broker(&broker.broker_name, &broker.broker_addrs);
        }
        if let Some(known) = self.cached_route(topic).filter(|known| known.is_same(&data, provisional)) {
            return known;
        }
        let name = self.cached_route(topic).map_or_else(|| topic.into(), |known| known.topic.clone());
        let route = Arc::new(TopicRoute::new(&name, data, provisional, |broker| self.brokers.get(broker)));
        info!(
            topic,
            provisional,
            write_queues = route.publish.len(),
            read_queues = route.subscribe.len(),
            "route changed"
        );
        self.routes.table.write().insert(name, route.clone());
        self.members.route_changed();
        route
    }

    /// A group has another leader: it may not know our groups, and locks have to be renewed there.
    pub(super) fn on_leadership(&self, leadership: Leadership) {
        if leadership == Leadership::Changed {
            self.heartbeat_soon();
            self.members.leader_changed();
        }
    }
}
