//! What a consumer wants of a topic: everything, or certain tags.

use std::sync::Arc;

use trireme_remoting::body::SubscriptionData;
use trireme_remoting::message::java_string_hash_code;

use crate::error::ClientError;
use crate::instance::now_ms;
use crate::message::ReceivedMessage;
use crate::validate;

/// A topic and a tag expression.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) topic: Arc<str>,
    /// As heartbeats tell it.
    pub(super) data: SubscriptionData,
}

impl Subscription {
    /// Errors: the topic is no name, or the expression has no tag in it.
    pub(super) fn parse(topic: &str, expression: &str) -> Result<Self, ClientError> {
        validate::topic(topic)?;
        let expression = expression.trim();
        let mut data = SubscriptionData {
            topic: topic.to_owned(),
            sub_string: expression.to_owned(),
            sub_version: now_ms() as i64,
            ..SubscriptionData::default()
        };
        if expression.is_empty() || expression == "*" {
            data.sub_string = "*".to_owned();
        } else {
            for tag in expression.split("||").map(str::trim).filter(|tag| !tag.is_empty()) {
                data.tags_set.insert(tag.to_owned());
                data.code_set.insert(java_string_hash_code(tag));
            }
            if data.tags_set.is_empty() {
                return Err(crate::config::config_error("subscription", expression, "'*' or 'a || b'"));
            }
        }
        Ok(Self { topic: topic.into(), data })
    }

    /// Whether a message's tag is wanted. Brokers compare hashes only.
    pub(super) fn matches(&self, message: &ReceivedMessage) -> bool {
        self.data.tags_set.is_empty() || message.tag().is_some_and(|tag| self.data.tags_set.contains(tag))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn expressions() {
        for (expression, tags, text) in [
            ("*", "", "*"),
            ("", "", "*"),
            (" * ", "", "*"),
            ("TagA", "TagA", "TagA"),
            ("TagB||TagA || ", "TagA TagB", "TagB||TagA ||"),
        ] {
            let data = Subscription::parse("T", expression).unwrap().data;
            assert_eq!(data.tags_set.into_iter().collect::<Vec<_>>().join(" "), tags, "{expression:?}");
            assert_eq!(data.sub_string, text);
        }
        let codes = Subscription::parse("T", "TagA").unwrap().data.code_set;
        assert_eq!(codes.into_iter().collect::<Vec<_>>(), [2598919]);
        assert!(Subscription::parse("T", "||").is_err());
        assert!(Subscription::parse("../x", "*").is_err());
    }
}
