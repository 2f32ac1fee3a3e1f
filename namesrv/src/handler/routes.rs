//! What clients and tools ask of routes: 105, 106, 206, 216, 217, 224, 304, 311 to 313.

use tracing::info;
use trireme_remoting::body::{TopicList, TopicRouteData};
use trireme_remoting::headers::{
    ClusterRequest, DeleteTopicInNamesrvRequest, RouteInfoRequest, TopicRequest,
};
use trireme_remoting::{Frame, response};

use super::brokers::check_queues;
use super::{Answer, Handler, Refused, success, success_with};
use crate::kv::ORDER_TOPIC_CONFIG;
use crate::names;
use crate::routes::Queues;

impl Handler {
    /// Code 105. Numeric keys are always quoted, so `acceptStandardJsonOnly` changes nothing.
    pub(super) fn route_info(&self, request: &Frame) -> Answer {
        let topic = RouteInfoRequest::from_ext(&request.ext)?.topic;
        let ordered = self.changeable.borrow().order_message_enable;
        let order_conf = ordered.then(|| self.kv.get(ORDER_TOPIC_CONFIG, topic)).flatten();
        match self.routes.lock().route(topic, order_conf) {
            Some(route) => Ok(success_with(route)),
            None => {
                let topic: String = topic.chars().take(255).collect();
                Err(Refused::new(response::TOPIC_NOT_EXIST, format!("no route of topic {topic}")))
            }
        }
    }

    /// Code 106.
    pub(super) fn cluster_info(&self) -> Answer {
        let info = self.routes.lock().cluster_info();
        Ok(success_with(info.encode()))
    }

    /// Code 206.
    pub(super) fn all_topics(&self) -> Answer {
        let topics = self.routes.lock().topics();
        Ok(success_with(topics.encode()))
    }

    /// Code 304.
    pub(super) fn system_topics(&self) -> Answer {
        let topics = self.routes.lock().system_topics();
        Ok(success_with(topics.encode()))
    }

    /// Code 224.
    pub(super) fn topics_by_cluster(&self, request: &Frame) -> Answer {
        let header = ClusterRequest::from_ext(&request.ext)?;
        let topics = self.routes.lock().topics_of_cluster(header.cluster);
        Ok(success_with(topics.encode()))
    }

    /// Codes 311, 312, 313: units are an arrangement of several sites that we do not have.
    pub(super) fn unit_topics(&self) -> Answer {
        Ok(success_with(TopicList::default().encode()))
    }

    /// Code 217. Only of a topic without a route; what else it names is ignored, as upstream does.
    pub(super) fn register_topic(&self, request: &Frame) -> Answer {
        let topic = TopicRequest::from_ext(&request.ext)?.topic;
        names::topic(topic)?;
        let route = TopicRouteData::decode(request.body.as_slice()).map_err(Refused::error)?;
        for data in &route.queue_datas {
            check_queues(topic, Queues::from(data)).map_err(Refused::error)?;
        }
        self.routes.lock().register_topic(topic, route.queue_datas).map_err(Refused::error)?;
        info!(topic, "route of a topic registered");
        Ok(success())
    }

    /// Code 216.
    pub(super) fn delete_topic(&self, request: &Frame) -> Answer {
        let header = DeleteTopicInNamesrvRequest::from_ext(&request.ext)?;
        let cluster = header.cluster_name.filter(|cluster| !cluster.is_empty());
        self.routes.lock().delete_topic(header.topic, cluster);
        info!(topic = header.topic, cluster, "route of a topic deleted");
        Ok(success())
    }
}
