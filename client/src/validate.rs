//! What is checked before anything is sent.

use crate::error::ClientError;

/// The longest topic name: longer ones make Go clients misread messages.
const TOPIC_MAX: usize = 127;

/// The longest group name: `%RETRY%` before it still fits a topic's 127 bytes.
const GROUP_MAX: usize = 120;

/// Prefix of the topic that a group's failed messages come back through.
pub(crate) const RETRY_PREFIX: &str = "%RETRY%";

/// Prefix of the topic where messages end that failed too often.
pub(crate) const DLQ_PREFIX: &str = "%DLQ%";

/// The topic whose settings brokers give to topics that they create by themselves.
pub(crate) const DEFAULT_TOPIC: &str = "TBW102";

/// Topics that the broker writes itself.
const UNWRITABLE: &[&str] = &[
    "SCHEDULE_TOPIC_XXXX",
    "RMQ_SYS_TRANS_HALF_TOPIC",
    "RMQ_SYS_TRANS_OP_HALF_TOPIC",
    "TRANS_CHECK_MAX_TIME_TOPIC",
    "OFFSET_MOVED_EVENT",
    "SELF_TEST_TOPIC",
];

/// The retry topic of a consumer group.
pub(crate) fn retry_topic(group: &str) -> String {
    format!("{RETRY_PREFIX}{group}")
}

/// Errors: the name is empty, too long, or has a character outside `[%|a-zA-Z0-9_-]`.
pub(crate) fn topic(name: &str) -> Result<(), ClientError> {
    check("topic", name, TOPIC_MAX, "is longer than 127 bytes")
}

/// Errors: as [`topic`], or the broker keeps the topic for itself.
pub(crate) fn writable_topic(name: &str) -> Result<(), ClientError> {
    topic(name)?;
    if UNWRITABLE.contains(&name) {
        return Err(refusal("topic", name, "is reserved for the broker"));
    }
    Ok(())
}

/// Errors: as [`topic`], with 120 bytes.
pub(crate) fn group(name: &str) -> Result<(), ClientError> {
    check("group", name, GROUP_MAX, "is longer than 120 bytes")
}

fn check(kind: &'static str, name: &str, max: usize, too_long: &'static str) -> Result<(), ClientError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'%' | b'|' | b'_' | b'-');
    if name.is_empty() {
        Err(refusal(kind, name, "is empty"))
    } else if name.len() > max {
        Err(refusal(kind, name, too_long))
    } else if !name.bytes().all(allowed) {
        Err(refusal(kind, name, "has a character outside [%|a-zA-Z0-9_-]"))
    } else {
        Ok(())
    }
}

fn refusal(kind: &'static str, name: &str, reason: &'static str) -> ClientError {
    ClientError::Name { kind, name: name.chars().take(64).collect(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let long = "t".repeat(127);
        for good in ["TopicTest", "%RETRY%group", "a-b_c|d", "0", long.as_str()] {
            assert!(topic(good).is_ok(), "{good}");
        }
        let too_long = "t".repeat(128);
        for bad in ["", "a b", "../../x", "тема", "a.b", "a/b", too_long.as_str()] {
            assert!(topic(bad).is_err(), "{bad}");
        }
        assert!(group(&"g".repeat(120)).is_ok());
        assert!(group(&"g".repeat(121)).is_err());
        assert!(topic("SCHEDULE_TOPIC_XXXX").is_ok());
        assert!(writable_topic("SCHEDULE_TOPIC_XXXX").is_err());
    }
}
