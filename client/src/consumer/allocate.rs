//! Dividing a topic's queues among a group's members. Pure: every member computes all shares alike.

use std::collections::BTreeSet;

use crate::message::MessageQueue;

/// How queues are divided. All members of a group have to use the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AllocateStrategy {
    /// Each member takes neighbours: 8 queues and 3 members give 3, 3 and 2.
    /// RocketMQ: `AllocateMessageQueueAveragely`.
    #[default]
    Average,
    /// Each member takes every n-th. RocketMQ: `AllocateMessageQueueAveragelyByCircle`.
    Circle,
}

impl AllocateStrategy {
    /// The share of member `me`. Nothing if it is not a member. `members` are in any order; a repeated one
    /// counts once.
    pub(super) fn allocate(
        self,
        queues: &BTreeSet<MessageQueue>,
        members: &[String],
        me: &str,
    ) -> Vec<MessageQueue> {
        let members: BTreeSet<&str> = members.iter().map(String::as_str).collect();
        let Some(index) = members.iter().position(|member| *member == me) else { return Vec::new() };
        let (count, members) = (queues.len(), members.len());
        match self {
            Self::Average => {
                let (share, rest) = (count / members, count % members);
                let start = index * share + index.min(rest);
                let mine = share + usize::from(index < rest);
                queues.iter().skip(start).take(mine).cloned().collect()
            }
            Self::Circle => queues.iter().skip(index).step_by(members).cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each member's share, as the numbers of its queues.
    fn shares(strategy: AllocateStrategy, queues: i32, members: usize) -> Vec<Vec<i32>> {
        let queues: BTreeSet<_> = (0..queues).map(|id| MessageQueue::new("T", "b", id)).collect();
        let mut names: Vec<_> = (0..members).map(|member| format!("10.0.0.{member}@1")).collect();
        names.reverse();
        names.push(names[0].clone());
        let share = |member| strategy.allocate(&queues, &names, &format!("10.0.0.{member}@1"));
        (0..members).map(|member| share(member).into_iter().map(|queue| queue.queue_id).collect()).collect()
    }

    #[test]
    fn average() {
        for (queues, members, expected) in [
            (8, 3, vec![vec![0, 1, 2], vec![3, 4, 5], vec![6, 7]]),
            (4, 2, vec![vec![0, 1], vec![2, 3]]),
            (2, 3, vec![vec![0], vec![1], vec![]]),
            (3, 1, vec![vec![0, 1, 2]]),
            (0, 2, vec![vec![], vec![]]),
        ] {
            assert_eq!(
                shares(AllocateStrategy::Average, queues, members),
                expected,
                "{queues} over {members}"
            );
        }
    }

    #[test]
    fn circle() {
        for (queues, members, expected) in
            [(8, 3, vec![vec![0, 3, 6], vec![1, 4, 7], vec![2, 5]]), (2, 3, vec![vec![0], vec![1], vec![]])]
        {
            assert_eq!(
                shares(AllocateStrategy::Circle, queues, members),
                expected,
                "{queues} over {members}"
            );
        }
    }

    #[test]
    fn who_is_no_member_gets_nothing() {
        let queues = [MessageQueue::new("T", "b", 0)].into();
        for strategy in [AllocateStrategy::Average, AllocateStrategy::Circle] {
            assert!(strategy.allocate(&queues, &["a".to_owned()], "b").is_empty());
            assert!(strategy.allocate(&queues, &[], "b").is_empty());
        }
    }
}
