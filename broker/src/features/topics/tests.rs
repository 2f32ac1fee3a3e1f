//! Tables over the topics' state.

use super::*;
use crate::codec;

fn put(name: &str, queues: u32, only_if_missing: bool) -> PutTopic {
    PutTopic {
        name: name.into(),
        read_queues: queues,
        write_queues: queues,
        perm: perm::READ | perm::WRITE,
        sys_flag: 0,
        order: false,
        multi_tag: false,
        attributes: Default::default(),
        only_if_missing,
    }
}

#[test]
fn two_first_messages_make_one_topic() {
    let mut topics = TopicState::default();
    topics.put(&put("a", 4, true)).expect("room");
    let first = topics.get("a").cloned();
    topics.put(&put("a", 8, true)).expect("room");
    assert_eq!(topics.get("a").cloned(), first, "the second changes nothing");
    topics.put(&put("a", 8, false)).expect("room");
    assert_eq!(topics.get("a").map(|topic| (topic.id, topic.queues())), Some((1, 8)));
    assert_eq!(topics.changes(), 2);
}

#[test]
fn a_topic_made_anew_is_another() {
    let mut topics = TopicState::default();
    topics.put(&put("a", 4, true)).expect("room");
    assert_eq!(topics.delete("a"), Some(1));
    assert_eq!(topics.name(1), None);
    topics.put(&put("a", 4, true)).expect("room");
    assert_eq!(topics.get("a").map(|topic| topic.id), Some(2));
}

#[test]
fn a_checkpoint_restores_everything() {
    let mut topics = TopicState::default();
    for name in ["a", "b"] {
        topics.put(&put(name, 4, true)).expect("room");
    }
    topics.delete("a");
    let back: TopicState =
        codec::decode("topics", &codec::encode(&topics)).expect("what was encoded decodes");
    assert_eq!(back.reindexed(), topics);
}
