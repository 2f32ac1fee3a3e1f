//! Which queue a message goes to.

use trireme_remoting::message::index_hash;

use crate::message::MessageQueue;
use crate::route::PublishQueue;

/// What the caller says of the queue.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Choice<'a> {
    /// Any will do.
    Any,
    /// This one.
    Queue(&'a MessageQueue),
    /// The one that this key belongs to.
    Key(&'a str),
}

/// The index of the next of `count` queues from `start` on: of a group that is neither `avoided` (it has just
/// failed this message) nor `penalized` (it has lately failed others), or else of one that is not avoided, or
/// else any. Nothing if there is no queue.
pub(super) fn rotate(
    count: usize,
    start: usize,
    avoided: impl Fn(usize) -> bool,
    penalized: impl Fn(usize) -> bool,
) -> Option<usize> {
    let from_start = || (0..count).map(|step| (start % count + step) % count);
    from_start()
        .find(|at| !avoided(*at) && !penalized(*at))
        .or_else(|| from_start().find(|at| !avoided(*at)))
        .or_else(|| from_start().next())
}

/// The queue of a sharding key. Java's `SelectMessageQueueByHash` finds the same one.
pub(super) fn shard<'a>(queues: &'a [PublishQueue], key: &str) -> Option<&'a PublishQueue> {
    let hash = index_hash(key) as usize;
    queues.get(hash.checked_rem(queues.len())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotation() {
        // Queues 0 and 1 are of group a, 2 and 3 of group b.
        let group = |at: usize| if at < 2 { 'a' } else { 'b' };
        for (start, avoided, penalized, expected) in [
            (0, "", "", 0),
            (3, "", "", 3),
            (4, "", "", 0),
            (usize::MAX, "", "", 3),
            (0, "a", "", 2),
            (0, "", "a", 2),
            (3, "b", "", 0),
            // The group that has not failed this message, although others had trouble there.
            (0, "a", "b", 2),
            (0, "a", "ab", 2),
            (1, "ab", "", 1),
            (1, "", "ab", 1),
        ] {
            let picked =
                rotate(4, start, |at| avoided.contains(group(at)), |at| penalized.contains(group(at)));
            assert_eq!(picked, Some(expected), "from {start}, avoided {avoided:?}, penalized {penalized:?}");
        }
        assert_eq!(rotate(0, 0, |_| false, |_| false), None);
    }
}
