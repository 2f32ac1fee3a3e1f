//! Names of topics and groups: which are allowed, which are RocketMQ's own.
//!
//! Source: RocketMQ `TopicValidator`, `MixAll`; protocol sheet 5.10.

/// Prefix of the topic that a group's failed messages return through.
pub const RETRY_PREFIX: &str = "%RETRY%";
/// Prefix of the topic that messages go to when a group gave them up.
pub const DLQ_PREFIX: &str = "%DLQ%";
/// The topic whose settings a new topic inherits.
pub const AUTO_CREATE_TOPIC: &str = "TBW102";
/// Where delayed messages wait, one queue per level.
pub const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";
/// Where clients send their traces.
pub const TRACE_TOPIC: &str = "RMQ_SYS_TRACE_TOPIC";

/// The longest topic name in bytes: Go clients read its length as one signed byte.
pub const TOPIC_MAX_BYTES: usize = 127;
/// The longest group name in bytes: `%RETRY%` must still fit in front of it.
pub const GROUP_MAX_BYTES: usize = 120;

const NOT_FOR_CLIENTS: [&str; 6] = [
    SCHEDULE_TOPIC,
    "RMQ_SYS_TRANS_HALF_TOPIC",
    "RMQ_SYS_TRANS_OP_HALF_TOPIC",
    "TRANS_CHECK_MAX_TIME_TOPIC",
    "OFFSET_MOVED_EVENT",
    "SELF_TEST_TOPIC",
];

/// Why a name is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty.
    #[error("the {what} name is empty")]
    Empty {
        /// Topic or group.
        what: &'static str,
    },
    /// Longer than its limit.
    #[error("the {what} name has {bytes} bytes, at most {max} are allowed")]
    TooLong {
        /// Topic or group.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A character outside `[%|a-zA-Z0-9_-]`.
    #[error("the {what} name {name:?} has a character that is none of %|a-zA-Z0-9_-")]
    Character {
        /// Topic or group.
        what: &'static str,
        /// The name.
        name: String,
    },
}

/// Checks a topic name.
pub fn check_topic(name: &str) -> Result<(), NameError> {
    check("topic", name, TOPIC_MAX_BYTES)
}

/// Checks a group name.
pub fn check_group(name: &str) -> Result<(), NameError> {
    check("group", name, GROUP_MAX_BYTES)
}

fn check(what: &'static str, name: &str, max: usize) -> Result<(), NameError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'%' | b'|' | b'_' | b'-');
    if name.is_empty() {
        return Err(NameError::Empty { what });
    }
    if name.len() > max {
        return Err(NameError::TooLong { what, bytes: name.len(), max });
    }
    if name.bytes().all(allowed) { Ok(()) } else { Err(NameError::Character { what, name: name.to_owned() }) }
}

/// The retry topic of a group.
pub fn retry_topic(group: &str) -> String {
    format!("{RETRY_PREFIX}{group}")
}

/// The dead-letter topic of a group.
pub fn dlq_topic(group: &str) -> String {
    format!("{DLQ_PREFIX}{group}")
}

/// Whether clients may send to this topic at all.
pub fn is_sendable(topic: &str) -> bool {
    !NOT_FOR_CLIENTS.contains(&topic)
}

/// The topics that exist from the start, with their queue numbers and permissions
/// (1 inherit, 2 write, 4 read).
pub fn system_topics(cluster: &str, group: &str) -> Vec<(String, u32, u32)> {
    let mut topics = vec![
        (AUTO_CREATE_TOPIC.to_owned(), 8, 7),
        (SCHEDULE_TOPIC.to_owned(), 18, 6),
        (TRACE_TOPIC.to_owned(), 1, 6),
        ("BenchmarkTest".to_owned(), 1024, 6),
        ("SELF_TEST_TOPIC".to_owned(), 1, 6),
        ("OFFSET_MOVED_EVENT".to_owned(), 1, 6),
        (format!("{cluster}_REPLY_TOPIC"), 1, 6),
    ];
    // A cluster or group name need not be a legal topic name; RocketMQ makes these topics all the same.
    for name in [cluster, group] {
        if check_topic(name).is_ok() && topics.iter().all(|(known, ..)| known != name) {
            topics.push((name.to_owned(), 1, 7));
        }
    }
    topics
}

/// Whether a topic belongs to the broker itself and cannot be changed or deleted by an administrator.
pub fn is_system_topic(topic: &str, cluster: &str, group: &str) -> bool {
    topic.starts_with("rmq_sys_")
        || !is_sendable(topic)
        || system_topics(cluster, group).iter().any(|(name, ..)| name == topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let long = "a".repeat(127);
        let too_long = "a".repeat(128);
        for (name, fine) in [
            ("TopicTest", true),
            ("%RETRY%group-1_x|y", true),
            (long.as_str(), true),
            (too_long.as_str(), false),
            ("", false),
            ("../../x", false),
            ("a b", false),
            ("t\u{f6}pic", false),
            ("a\0b", false),
        ] {
            assert_eq!(check_topic(name).is_ok(), fine, "{name:?}");
        }
        assert!(check_group(&"g".repeat(121)).is_err());
    }
}
